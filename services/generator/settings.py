"""Settings of the generator (``VALIGN_GENERATOR_*``), and the environment that vLLM reads."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import ArtifactRoot, ServiceSettings, is_loopback

# The ranks that vLLM has kernels for.
# The environment carries text, which a Literal of numbers does not take.
LoraRank = Annotated[
    Literal[1, 8, 16, 32, 64, 128, 256, 320, 512],
    BeforeValidator(lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value),
]


class GeneratorSettings(ServiceSettings):
    """One engine, one base model."""

    model_config = SettingsConfigDict(env_prefix="VALIGN_GENERATOR_", extra="forbid", frozen=True)

    port: int = Field(50051, description="Port of the gRPC server.", ge=0, le=65535)
    metrics_port: int = Field(
        9051, description="Port of the Prometheus endpoint; 0 for none.", ge=0, le=65535
    )

    model: str = Field(description="Base model: a local Hugging Face folder or a hub id.", min_length=1)
    revision: str | None = Field(None, description="Hub revision; pin it in production.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "bfloat16", description="Type that weights and activations are served in."
    )
    max_model_len: int = Field(
        2048, description="Longest prompt plus completion in tokens; capped by the model's own limit.", ge=16
    )
    max_num_seqs: int = Field(256, description="Most sequences in one engine step.", ge=1)
    max_loras: int = Field(
        2, description="Adapters that one engine step can mix, on a GPU; on a CPU, all that are loaded.", ge=1
    )
    max_cpu_loras: int = Field(8, description="Adapters that can be loaded at once.", ge=1)
    max_lora_rank: LoraRank = Field(64, description="Largest adapter rank.")
    lora_target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        description="Modules that adapters may change. Fewer are faster.",
        min_length=1,
    )
    gpu_memory_utilization: float = Field(0.9, description="Share of GPU memory for the engine.", gt=0, le=1)
    cpu_kv_cache_gib: int = Field(2, description="KV cache in GiB when the engine runs on a CPU.", ge=1)
    tensor_parallel_size: int = Field(1, description="GPUs that share each layer.", ge=1, le=64)
    pipeline_parallel_size: int = Field(1, description="GPUs that share the stack of layers.", ge=1, le=64)
    data_parallel_size: int = Field(
        1,
        description="Copies of the model that share the work, each on GPUs of its own.",
        ge=1,
        le=64,
    )
    enforce_eager: bool | None = Field(
        None, description="No graph compilation. Unset: true on a CPU, false on a GPU."
    )
    enable_prefix_caching: bool = Field(
        True, description="Share the computed state of equal prompt beginnings."
    )

    max_in_flight: int = Field(
        1024, description="Requests in the engine at once; more wait in their calls.", ge=1
    )
    max_calls: int = Field(
        64, description="Generate and Score calls open at once; more are refused as OVERLOADED.", ge=1
    )

    engine_metrics: bool = Field(
        True, description="Serve vLLM's own metrics beside ours: queue, KV cache, latencies."
    )

    artifacts: ArtifactRoot = Field(
        "./artifacts", description="Root URI of the artifact store that adapters come from."
    )
    adapter_cache: Path | None = Field(
        None, description="Folder for fetched adapters. Unset: the system's temporary folder."
    )
    max_adapter_bytes: int = Field(2 * 1024**3, description="Largest adapter taken.", ge=1)
    canary_tolerance: float = Field(
        0.02,
        description="Tolerated error of a canary's log-probability, relative to the trainer's.",
        gt=0,
        lt=1,
    )
    restart_backoff_s: float = Field(1.0, description="First pause before a dead engine starts again.", gt=0)
    restart_backoff_max_s: float = Field(60.0, description="Longest such pause.", gt=0)

    http_port: int = Field(
        0, description="Port of the OpenAI-compatible HTTP face; 0 for none.", ge=0, le=65535
    )
    http_tls_cert_file: Path | None = Field(None, description="Certificate chain (PEM) of the HTTP face.")
    http_tls_key_file: Path | None = Field(None, description="Private key (PEM) of that certificate.")
    auth_url: str = Field(
        "",
        description="URL of the orchestrator's REST API, which is asked who a caller of the HTTP face is."
        " Empty: no credential is asked for.",
    )
    auth_grace_s: float = Field(
        600.0,
        description="Seconds that a known caller goes on while the orchestrator cannot be asked.",
        ge=0,
        le=86_400,
    )
    max_http_requests: int = Field(
        512, description="Requests of the HTTP face at once; more are answered with 429.", ge=1
    )
    max_http_body_bytes: int = Field(
        4 * 1024**2, description="Largest body of a request of the HTTP face.", ge=1024
    )
    max_http_sequences: int = Field(
        64, description="Answers (n times prompts) that one request of the HTTP face may ask for.", ge=1
    )
    base_model_name: str = Field(
        "", description="Name of the base model on the HTTP face. Empty: its folder's name, or its hub id."
    )
    public_names: tuple[str, ...] = Field(
        ("valign",),
        description="Public names that are answered with 503, not 404, before they are set, as JSON:"
        ' ["valign"].',
    )
    allow_traffic_sampling: bool = Field(
        False, description="Let SampleTraffic read a share of what the HTTP face serves."
    )

    @field_validator("auth_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("is no http:// or https:// URL")
        return value

    @model_validator(mode="after")
    def _http_is_whole(self) -> "GeneratorSettings":
        prefix = self.variable_prefix
        if (self.http_tls_cert_file is None) != (self.http_tls_key_file is None):
            raise ValueError(f"{prefix}HTTP_TLS_CERT_FILE and {prefix}HTTP_TLS_KEY_FILE belong together")
        parts = urlsplit(self.auth_url)
        if (
            parts.scheme == "http"
            and not is_loopback(parts.hostname or "")
            and not self.allow_insecure_network
        ):
            raise ValueError(
                f"{prefix}AUTH_URL is {self.auth_url}: callers' credentials would cross the network in the"
                " clear; use https://"
            )
        return self

    def _missing_guards(self) -> Iterator[str]:
        """Mutual TLS as everywhere, and of the HTTP face TLS and credentials."""
        yield from super()._missing_guards()
        if self.http_port:
            prefix = self.variable_prefix
            if not self.auth_url:
                yield f"callers of the HTTP face need no credential: set {prefix}AUTH_URL"
            if self.http_tls_cert_file is None:
                yield (
                    f"the HTTP face has no TLS: set {prefix}HTTP_TLS_CERT_FILE and {prefix}HTTP_TLS_KEY_FILE"
                )

    @property
    def workers(self) -> int:
        """Processes that hold a part of a copy of the model: GPUs, or groups of a CPU's cores."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @model_validator(mode="after")
    def _adapters_fit(self) -> "GeneratorSettings":
        if self.max_cpu_loras < self.max_loras:
            raise ValueError(
                f"max_cpu_loras ({self.max_cpu_loras}) is less than max_loras ({self.max_loras})"
            )
        return self


def apply_engine_environment(settings: GeneratorSettings) -> None:
    """Set what vLLM reads from the environment; what the operator has set already stays.

    To be called before vLLM is imported.
    """
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // settings.workers)
    groups = [cores[n * share : (n + 1) * share] for n in range(settings.workers)]
    defaults = {
        # A fork of a process with gRPC's threads in it can hang.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.cpu_kv_cache_gib),
        # By default vLLM binds one thread a physical core, which idles half of a small machine.
        "VLLM_CPU_OMP_THREADS_BIND": "|".join(",".join(map(str, group)) for group in groups),
        "VLLM_NO_USAGE_STATS": "1",
        # Our own logging shows vLLM's lines in the service's format.
        "VLLM_CONFIGURE_LOGGING": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def inherited_logging() -> tuple[str, str]:
    """Level and format of the log, for a process of the engine: it has the service's environment alone."""
    prefix = "VALIGN_GENERATOR_LOG_"
    return os.environ.get(f"{prefix}LEVEL", "info"), os.environ.get(f"{prefix}FORMAT", "json")


def apply_cpu_environment() -> None:
    """Set what the engine's processes read on a CPU. To be called before they start."""
    # vLLM compiles small kernels even in eager mode, on first use: that would need a C++ compiler
    # and make the first Score of every start wait for it.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
