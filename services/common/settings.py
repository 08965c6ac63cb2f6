"""Settings that every service has, read from environment variables.

A name that carries a service's prefix but is no setting of it is refused: a misspelt
variable must not be ignored.
"""

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from services.common.artifact_root import local_folder
from services.common.errors import InvalidInputError
from services.common.redact import is_secret_name, redact, redact_keys


def _artifact_root(root: str) -> str:
    try:
        local_folder(root)
    except InvalidInputError as error:
        raise ValueError(error.message) from None
    return root


ArtifactRoot = Annotated[str, AfterValidator(_artifact_root)]
"""Root of the artifact store: a folder or an fsspec URI; half a URI is refused."""


class ServiceSettings(BaseSettings):
    """Base class; a service sets ``env_prefix`` (for example ``VALIGN_TRAINER_``) and its defaults."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address that the gRPC server listens on.")
    port: int = Field(description="Port of the gRPC server.", ge=0, le=65535)
    metrics_port: int = Field(0, description="Port of the Prometheus endpoint; 0 for none.", ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["json", "text"] = Field("json", description="JSON lines, or text for people.")
    reflection: bool = Field(True, description="Serve gRPC reflection.")
    drain_timeout_s: float = Field(
        30.0, description="Seconds given to calls in flight after SIGTERM.", ge=0, le=3600
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain (PEM) of the gRPC server; also shown to servers that are called."
    )
    tls_key_file: Path | None = Field(None, description="Private key (PEM) of that certificate.")
    tls_ca_file: Path | None = Field(
        None,
        description="Authorities (PEM) that the other side's certificate must be signed by.",
    )
    tls_client_names: tuple[str, ...] = Field(
        (),
        description='Names of which a client\'s certificate must have one, as JSON: ["orchestrator"].'
        " Empty: any certificate of the authority.",
    )
    health_port: int = Field(
        0, description="Port that serves grpc.health.v1 alone, in the clear; 0 for none.", ge=0, le=65535
    )
    max_concurrent_rpcs: int = Field(
        1000, description="Calls at once, streams among them; more are refused as RESOURCE_EXHAUSTED.", ge=1
    )
    tracing_endpoint: str = Field(
        "",
        description="Collector of traces, OTLP over gRPC: http://127.0.0.1:4317, or https:// for TLS. Empty:"
        " none.",
        pattern=r"^(https?://[^/?#@\s]+)?$",
    )
    tracing_sample_ratio: float = Field(
        1.0, description="Share of traces that is kept; a run is kept whole or not at all.", ge=0, le=1
    )
    tracing_content: bool = Field(
        False, description="Put prompts and completions into spans. Whoever reads the traces reads them."
    )
    allow_insecure_network: bool = Field(
        False, description="Listen beyond loopback although whoever reaches the port may use it."
    )

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach what listens on ``host``."""
        return not is_loopback(self.host)

    @property
    def variable_prefix(self) -> str:
        """What the names of its environment variables begin with."""
        return str(self.model_config.get("env_prefix", ""))

    @model_validator(mode="after")
    def _listens_safely(self) -> "ServiceSettings":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError(
                f"{self.variable_prefix}TLS_CERT_FILE and {self.variable_prefix}TLS_KEY_FILE belong together"
            )
        missing = list(self._missing_guards())
        if self.beyond_loopback and missing and not self.allow_insecure_network:
            raise ValueError(
                f"{self.variable_prefix}HOST is {self.host}, which other machines reach, and "
                f"{'; '.join(missing)}. Or listen on 127.0.0.1; or set "
                f"{self.variable_prefix}ALLOW_INSECURE_NETWORK=true, and whoever reaches the port may use it"
            )
        return self

    def _missing_guards(self) -> Iterator[str]:
        """What must be set before this service may listen beyond loopback: mutual TLS."""
        if self.tls_cert_file is None or self.tls_ca_file is None:
            names = ", ".join(f"{self.variable_prefix}TLS_{name}_FILE" for name in ("CERT", "KEY", "CA"))
            yield f"mutual TLS is not set up: set {names}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(cls: type[SettingsT], **overrides: Any) -> SettingsT:
    """Build the settings from the environment, or say what is wrong on stderr and exit with status 2."""
    problems = _unknown_names(cls)
    try:
        settings = cls(**overrides)
    except ValidationError as error:
        prefix = str(cls.model_config.get("env_prefix", ""))
        for item in error.errors():
            message = redact(str(item["msg"]).removeprefix("Value error, "))
            if not item["loc"]:
                # About several settings: it names them, and its input is all of them.
                problems.append(message)
                continue
            name = prefix + "_".join(str(part) for part in item["loc"]).upper()
            shown = item["type"] != "missing" and not _is_secret(cls, str(item["loc"][0]))
            given = f" (got {redact_keys(repr(item['input']))})" if shown else ""
            problems.append(f"{name}: {message}{given}")
    except SettingsError as error:
        # Its text names the field and not the value.
        problems.append(f"{redact(str(error))}; write it as JSON")
    else:
        if not problems:
            return settings
    for problem in problems:
        print(f"settings: {problem}", file=sys.stderr)
    raise SystemExit(2)


def _unknown_names(cls: type[BaseSettings]) -> list[str]:
    prefix = str(cls.model_config.get("env_prefix", ""))
    known = {f"{prefix}{name}".upper() for name in cls.model_fields}
    return [
        f"{name}: no such setting; known are {', '.join(sorted(known))}"
        for name in sorted(os.environ)
        if prefix and name.upper().startswith(prefix.upper()) and name.upper() not in known
    ]


def _is_secret(cls: type[BaseSettings], name: str) -> bool:
    field = cls.model_fields.get(name)
    return is_secret_name(name) or (field is not None and SecretStr.__name__ in str(field.annotation))
