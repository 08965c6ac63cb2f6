"""The certificate of an HTTP server, read again when its files have changed."""

import asyncio
import ssl
from pathlib import Path

import structlog

from services.common.errors import PreconditionError
from services.common.rpc.tls import read_pair

log = structlog.get_logger(__name__)

READ_AGAIN_S = 30.0


async def follow_certificate(
    context: ssl.SSLContext, certificate: Path, key: Path, every_s: float = READ_AGAIN_S
) -> None:
    """Until it is cancelled: load the pair into ``context`` whenever it is new, for the next connections."""
    seen = await asyncio.to_thread(_pair_or_none, certificate, key)
    while True:
        await asyncio.sleep(every_s)
        found = await asyncio.to_thread(_pair_or_none, certificate, key)
        if found is not None and found != seen:
            context.load_cert_chain(certificate, key)
            seen = found
            log.info("tls.read_again", certificate=str(certificate))


def _pair_or_none(certificate: Path, key: Path) -> tuple[bytes, bytes] | None:
    try:
        return read_pair(certificate, key)
    except PreconditionError as error:
        # Half a rotation: what was read last goes on serving.
        log.warning("tls.not_read_again", error=error.message)
        return None
