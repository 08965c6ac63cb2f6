"""Settings of the trainer, read from environment variables (``VALIGN_TRAINER_…``)."""

import os
import secrets
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import ArtifactRoot, ServiceSettings
from services.trainer.compute import Backend, Compute, Quantization, Sharding


class TrainerSettings(ServiceSettings):
    """What the trainer process needs to know; the jobs themselves arrive by gRPC."""

    model_config = SettingsConfigDict(env_prefix="VALIGN_TRAINER_", extra="forbid", frozen=True)

    port: int = Field(50053, description="Port of the gRPC server.", ge=0, le=65535)
    metrics_port: int = Field(
        9053, description="Port of the Prometheus endpoint; 0 for none.", ge=0, le=65535
    )
    state_dir: Path = Field(
        Path(".valign/trainer"), description="Folder of jobs and checkpoints; survives a restart."
    )
    artifacts_uri: ArtifactRoot = Field(
        ".valign/artifacts", description="Root of the artifact store: a folder or an fsspec URI."
    )
    threads: int = Field(0, description="CPU threads of each process of a job; 0 for one a core.", ge=0)
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; auto is CUDA where there is a device, else the CPU."
    )
    max_restarts: int = Field(
        3,
        description="Times that a process which died without a word is started again, and lost workers too.",
        ge=0,
    )
    max_queued_jobs: int = Field(64, description="Jobs that may wait; more are refused.", ge=1)
    backend: Backend = Field(
        "local",
        description="local: one process. torchrun: several on this machine. ray: several on a Ray cluster.",
    )
    workers: int = Field(1, description="Processes that share each global batch.", ge=1, le=4096)
    min_workers: int = Field(
        1, description="Fewest workers that a job on Ray goes on with when others are lost.", ge=1
    )
    sharding: Sharding = Field(
        "ddp", description="ddp: the whole base model in every worker. fsdp2: a part of it in each."
    )
    ray_address: str = Field(
        "",
        description="host:port of the Ray cluster's GCS; empty starts one on this machine for each job.",
        pattern=r"^([^\s/]+:\d+|auto)?$",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice instead of keeping them: less memory, more time."
    )
    packing: bool = Field(
        False,
        description="Put several examples into one row of max_length tokens; they do not see each other.",
    )
    quantization: Quantization = Field(
        "none", description="nf4: the base in 4 bits while training (QLoRA); needs bitsandbytes."
    )

    @field_validator("state_dir")
    @classmethod
    def _whole_path(cls, path: Path) -> Path:
        """Workers are started in other folders, and Ray takes a relative path for a broken URI."""
        return path.absolute()

    @field_validator("artifacts_uri")
    @classmethod
    def _whole_uri(cls, uri: str) -> str:
        scheme, _, path = uri.rpartition("://")
        return uri if scheme not in ("", "file") else f"{scheme}{'://' * bool(scheme)}{Path(path).absolute()}"

    @property
    def compute(self) -> Compute:
        """How jobs are computed."""
        return Compute(**{name: getattr(self, name) for name in Compute.__dataclass_fields__})

    @property
    def child_environment(self) -> dict[str, str]:
        """The environment of a job's process: ours, and what Ray reads.

        Ray reports no usage to its makers. A cluster of the job's own gets a token of its own; Ray would
        else write one into the home folder. That of another cluster is in our environment, if it wants one.
        """
        ray = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_V2_ENABLED": "1",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        if not self.ray_address:
            ray |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        return {**os.environ, **ray}

    @model_validator(mode="after")
    def _computable(self) -> "TrainerSettings":
        """Refuses what would have no effect: whoever sets it believes that it has one."""
        if self.backend == "local" and self.workers > 1:
            raise ValueError(
                f"VALIGN_TRAINER_WORKERS is {self.workers} and VALIGN_TRAINER_BACKEND is local, which is one "
                "process; set it to torchrun or ray"
            )
        if self.backend == "local" and self.sharding != "ddp":
            raise ValueError(
                f"VALIGN_TRAINER_SHARDING is {self.sharding} and VALIGN_TRAINER_BACKEND is local, which is "
                "one process and shards nothing; set it to torchrun or ray, or leave the sharding out"
            )
        if self.backend != "ray" and self.ray_address:
            raise ValueError(
                f"VALIGN_TRAINER_RAY_ADDRESS is {self.ray_address} and VALIGN_TRAINER_BACKEND is "
                f"{self.backend}, which asks no Ray cluster; set it to ray, or leave the address out"
            )
        if self.backend != "ray" and self.min_workers > 1:
            raise ValueError(
                f"VALIGN_TRAINER_MIN_WORKERS is {self.min_workers} and VALIGN_TRAINER_BACKEND is "
                f"{self.backend}, which never goes on with fewer workers; set it to ray, or leave it out"
            )
        if self.min_workers > self.workers:
            raise ValueError(
                f"VALIGN_TRAINER_MIN_WORKERS is {self.min_workers}, more than VALIGN_TRAINER_WORKERS "
                f"({self.workers})"
            )
        if self.quantization != "none" and self.sharding == "fsdp2":
            raise ValueError(
                "VALIGN_TRAINER_QUANTIZATION=nf4 goes with VALIGN_TRAINER_SHARDING=ddp; fsdp2 shards plain "
                "weights"
            )
        if self.sharding != "ddp" and self.workers == 1:
            raise ValueError(
                f"VALIGN_TRAINER_SHARDING is {self.sharding} and VALIGN_TRAINER_WORKERS is 1: one worker has "
                "the whole base model anyhow; set the workers to 2 or more, or the sharding to ddp"
            )
        return self
