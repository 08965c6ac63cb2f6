"""Where the command line finds the orchestrator: the only place here that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.errors import CliError

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_HOME = ".valign"
DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
DEFAULT_ENCODER = "sentence-transformers/all-mpnet-base-v2"


@dataclass(frozen=True, slots=True)
class CliSettings:
    """Settings of one invocation.

    ``url`` is the orchestrator's REST address without ``/v1``; ``timeout_s`` bounds one
    request (event streams have none); ``model`` and ``encoder`` are ids or folders;
    ``second_encoder`` is "" for none; ``api_key`` is sent as a bearer token, "" for none;
    ``ca_file`` holds the authorities (PEM) of a private certificate; ``hub_cache`` is where Hugging
    Face's libraries keep downloads; ``gpu_memory`` is the share that the user has set for the generator,
    if any.
    """

    url: str
    timeout_s: float
    home: Path
    model: str
    encoder: str
    hub_cache: Path
    gpu_memory: str | None
    second_encoder: str = ""
    api_key: str = field(default="", repr=False)
    ca_file: Path | None = None


def load_settings() -> CliSettings:
    """Read ``VALIGN_URL``, ``VALIGN_API_KEY``, ``VALIGN_CA_FILE``, ``VALIGN_TIMEOUT_S``, ``VALIGN_HOME``
    and the names of the models.

    Raises ``CliError`` if a value can't be read.
    """
    env = os.environ
    url = env.get("VALIGN_URL", DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CliError(f"VALIGN_URL is {url!r}, which is no http:// or https:// address.")
    timeout = env.get("VALIGN_TIMEOUT_S", "30")
    try:
        timeout_s = float(timeout)
    except ValueError:
        raise CliError(f"VALIGN_TIMEOUT_S is {timeout!r}, which is no number of seconds.") from None
    return CliSettings(
        url=url,
        timeout_s=timeout_s,
        home=Path(env.get("VALIGN_HOME", DEFAULT_HOME)),
        model=env.get("VALIGN_GENERATOR_MODEL", DEFAULT_MODEL),
        encoder=env.get("VALIGN_EMBEDDER_MODEL", DEFAULT_ENCODER),
        hub_cache=_hub_cache(env),
        gpu_memory=env.get("VALIGN_GENERATOR_GPU_MEMORY_UTILIZATION"),
        second_encoder=env.get("VALIGN_SECOND_EMBEDDER_MODEL", ""),
        api_key=env.get("VALIGN_API_KEY", ""),
        ca_file=Path(env["VALIGN_CA_FILE"]) if env.get("VALIGN_CA_FILE") else None,
    )


def _hub_cache(env: Mapping[str, str]) -> Path:
    # huggingface_hub's own rules, in its order
    if "HF_HUB_CACHE" in env:
        return Path(env["HF_HUB_CACHE"]).expanduser()
    home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME', '~/.cache')}/huggingface"
    return Path(home).expanduser() / "hub"


def child_environment(extra: Mapping[str, str], defaults: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a service that we start.

    What the user has set wins over ``defaults``, and ``extra`` over both.
    """
    return {**(defaults or {}), **os.environ, **extra}
