"""Settings of the embedder, from ``VALIGN_EMBEDDER_*`` variables."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


class EmbedderSettings(ServiceSettings):
    """The defaults serve the paper's encoder."""

    model_config = SettingsConfigDict(env_prefix="VALIGN_EMBEDDER_", extra="forbid", frozen=True)

    port: int = Field(50052, description="Port of the gRPC server.", ge=0, le=65535)
    metrics_port: int = Field(
        9052, description="Port of the Prometheus endpoint; 0 for none.", ge=0, le=65535
    )
    model: str = Field(
        "sentence-transformers/all-mpnet-base-v2",
        description="Folder of a sentence-transformers model, or its id on the hub.",
        min_length=1,
    )
    revision: str | None = Field(None, description="Commit, tag or branch of a hub model; not for a folder.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 runs matrix products in bfloat16: 2 to 3 times faster on CPUs with AMX,"
        " and rows differ in the third decimal. It is part of the fingerprint.",
    )
    batch_size: int = Field(32, description="Most texts in one forward pass.", ge=1, le=4096)
    max_wait_ms: float = Field(
        5.0, description="Longest time an idle encoder waits for more texts to fill a batch.", ge=0, le=1000
    )
    threads: int = Field(
        0, description="CPU threads of the encoder; 0 for PyTorch's own choice.", ge=0, le=1024
    )
    window_texts: int = Field(
        512, description="Texts of one call that are sorted by length together; two windows are held.", ge=1
    )
    max_queued_texts: int = Field(
        65_536, description="New calls are refused with OVERLOADED while this many texts wait.", ge=1
    )
