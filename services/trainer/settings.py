"""Settings of the trainer, read from environment variables (``VALIGN_TRAINER_…``)."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


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
    artifacts_uri: str = Field(
        ".valign/artifacts", description="Root of the artifact store: a folder or an fsspec URI."
    )
    threads: int = Field(0, description="CPU threads of a job's process; 0 for one a core.", ge=0)
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; auto is CUDA where there is a device, else the CPU."
    )
    max_restarts: int = Field(
        3, description="Times that a process which died without a word is started again.", ge=0
    )
    max_queued_jobs: int = Field(64, description="Jobs that may wait; more are refused.", ge=1)
