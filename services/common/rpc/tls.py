"""TLS of gRPC servers and clients, from the settings that every service has.

A server reads its files again when they have changed: a rotated certificate serves the next connection,
without a restart. A client reads its own once; its process is started again to show another.
"""

import ssl
from pathlib import Path
from typing import Protocol

import grpc
import structlog

from services.common.errors import PreconditionError

log = structlog.get_logger(__name__)


class TlsFiles(Protocol):
    """The settings that are read here."""

    @property
    def tls_cert_file(self) -> Path | None: ...
    @property
    def tls_key_file(self) -> Path | None: ...
    @property
    def tls_ca_file(self) -> Path | None: ...


def server_credentials(files: TlsFiles, *, client_certificates: bool = True) -> grpc.ServerCredentials | None:
    """Credentials of a server; None if no certificate is set.

    With an authority a client must show a certificate of it, unless ``client_certificates`` is False.

    Raises:
        PreconditionError: a file cannot be read, or holds no certificate.
    """
    if files.tls_cert_file is None or files.tls_key_file is None:
        return None
    authority = files.tls_ca_file if client_certificates else None
    reader = _Reader(files.tls_cert_file, files.tls_key_file, authority)
    return grpc.dynamic_ssl_server_credentials(
        reader.read(), reader.changed, require_client_authentication=authority is not None
    )


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials | None:
    """Credentials of a client: the server's authority, and its own certificate; None if no authority is set.

    Raises:
        PreconditionError: a file cannot be read, or holds no certificate.
    """
    if files.tls_ca_file is None:
        return None
    authority = _authority(files.tls_ca_file)
    if files.tls_cert_file is None or files.tls_key_file is None:
        return grpc.ssl_channel_credentials(authority)
    return grpc.ssl_channel_credentials(authority, *read_pair(files.tls_cert_file, files.tls_key_file))


class _Reader:
    """The three files of a server, read again once one of them has another time or size."""

    def __init__(self, certificate: Path, key: Path, authority: Path | None) -> None:
        self._certificate, self._key, self._authority = certificate, key, authority
        self._seen: tuple[tuple[int, int], ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What the server shows and trusts now."""
        self._seen = self._state()
        return grpc.ssl_server_certificate_configuration(
            [read_pair(self._certificate, self._key)],
            root_certificates=_authority(self._authority) if self._authority else None,
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked before each connection: None while the files are as they were."""
        try:
            if self._state() == self._seen:
                return None
            found = self.read()
        except (OSError, PreconditionError) as error:
            # Half a rotation: what was read last goes on serving.
            log.warning("tls.not_read_again", error=str(error))
            return None
        log.info("tls.read_again", certificate=str(self._certificate))
        return found

    def _state(self) -> tuple[tuple[int, int], ...]:
        files = [self._certificate, self._key, *([self._authority] if self._authority else [])]
        states = [file.stat() for file in files if file.exists()]
        return tuple((state.st_mtime_ns, state.st_size) for state in states)


def read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Key and certificate; PreconditionError unless they can be read and belong together."""
    found = _bytes(key), _bytes(certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise PreconditionError(
            f"{certificate} and {key} are no certificate and its key in PEM: {error.reason or error}"
        ) from error
    return found


def _authority(path: Path) -> bytes:
    data = _bytes(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise PreconditionError(f"{path} holds no certificate in PEM: {error}") from error
    return data


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PreconditionError(f"cannot read {path}: {error.strerror or error}") from error
