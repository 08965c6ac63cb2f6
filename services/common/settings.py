"""Settings that every service has, read from environment variables.

A name that carries a service's prefix but is no setting of it is refused: a misspelt
variable must not be ignored.
"""

import os
import sys
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


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


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(cls: type[SettingsT], **overrides: Any) -> SettingsT:
    """Build the settings from the environment, or say what is wrong on stderr and exit with status 2."""
    problems = _unknown_names(cls)
    try:
        settings = cls(**overrides)
    except ValidationError as error:
        prefix = str(cls.model_config.get("env_prefix", ""))
        for item in error.errors():
            name = prefix + "_".join(str(part) for part in item["loc"]).upper()
            given = "" if item["type"] == "missing" else f" (got {item['input']!r})"
            problems.append(f"{name}: {item['msg']}{given}")
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
