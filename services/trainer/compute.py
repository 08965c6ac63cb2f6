"""How a job is computed: on what, by how many workers. But for rounding, no number depends on it.

The exception is ``quantization``: a quantised base answers a little differently, and so does what is trained
on it. It is told in the adapter's manifest.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

Backend = Literal["local", "torchrun", "ray"]
Sharding = Literal["ddp", "fsdp2"]
Quantization = Literal["none", "nf4"]


@dataclass(frozen=True, slots=True)
class Compute:
    """What the trainer's settings say of a job's workers.

    Args:
        backend: "local" is one process, "torchrun" several on this machine, "ray" several on a Ray cluster.
        workers: processes that share each global batch.
        min_workers: fewest that a Ray job goes on with when others are lost.
        sharding: "ddp" has the whole base model in every worker, "fsdp2" a part of it.
        ray_address: of the cluster's GCS, host:port; "" starts a cluster on this machine for the job alone.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of each worker; 0 leaves it to torch, or shares the cores out.
        max_restarts: times that the workers are started again after one of them was lost.
        gradient_checkpointing: compute activations twice instead of keeping them.
        packing: put several examples into one row, which do not see each other.
        quantization: of the frozen base: "nf4" is QLoRA's.
    """

    backend: Backend = "local"
    workers: int = 1
    min_workers: int = 1
    sharding: Sharding = "ddp"
    ray_address: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    max_restarts: int = 3
    gradient_checkpointing: bool = False
    packing: bool = False
    quantization: Quantization = "none"

    def to_text(self) -> str:
        """As JSON, for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of ``to_text``."""
        return cls(**json.loads(text))
