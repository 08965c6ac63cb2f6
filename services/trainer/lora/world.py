"""The workers that share a job: who takes which examples, and what they tell each other.

A global batch is the same for any number of workers, and so is its loss: every worker knows the whole batch,
takes its share, and divides by the weights of all. DDP and FSDP2 average gradients over the workers; the loss
is multiplied by their number, which makes a sum of that average.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from services.common.errors import InvalidInputError
from services.trainer.compute import Sharding

if TYPE_CHECKING:
    from peft import PeftModel

Item = TypeVar("Item")

_SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class World:
    """This worker's place among all; the process group is set up if there is more than one.

    Args:
        rank: 0..size-1; the worker 0 writes files.
        size: number of workers.
        device: of this worker, "cpu", "cuda" or "cuda:<n>".
        sharding: how the model is spread over them.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    sharding: Sharding = "ddp"

    @property
    def leads(self) -> bool:
        """Whether this worker writes checkpoints, the curve and the adapter."""
        return self.rank == 0

    @property
    def shards_model(self) -> bool:
        """Whether no worker has the whole model."""
        return self.size > 1 and self.sharding == "fsdp2"

    def share(self, items: Sequence[Item]) -> list[int]:
        """Which places of a global batch this worker takes: every ``size``-th."""
        return list(range(self.rank, len(items), self.size))

    def total(self, value: float) -> float:
        """The sum of a number over all workers."""
        if self.size == 1:
            return value
        numbers = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers)
        return float(numbers.item())

    def told_by_leader(self, value: int) -> int:
        """The whole number that the worker 0 has."""
        if self.size == 1:
            return value
        numbers = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(numbers, src=0)
        return int(numbers.item())

    def spread(self, model: "PeftModel") -> nn.Module:
        """What to call instead of the model, so that gradients are averaged over the workers.

        Raises:
            InvalidInputError: the model does not say what its layers are, which FSDP2 has to know.
        """
        if self.size == 1:
            return model
        if self.sharding == "fsdp2":
            for block in _blocks(model):
                fully_shard(block)
            fully_shard(model)
            return model
        return DistributedDataParallel(model)


def leave_group() -> None:
    """End this process's part in the group of workers.

    gloo's thread wants the GIL to drop the tensors of the last exchange, and meanwhile holds a lock for which
    the group's destructor waits with the GIL (torch 2.13): who destroys the group at once after an exchange
    may hang for ever. The pause lets that thread come to its end.
    """
    time.sleep(_SETTLE_S)
    dist.destroy_process_group()


def _blocks(model: "PeftModel") -> list[nn.Module]:
    network: Any = model.get_base_model()
    names = set(getattr(network, "_no_split_modules", None) or ())
    blocks = [module for module in network.modules() if type(module).__name__ in names]
    if not blocks:
        raise InvalidInputError(
            f"{type(network).__name__} does not name its layers (_no_split_modules), which FSDP2 needs; "
            "set VALIGN_TRAINER_SHARDING=ddp"
        )
    return blocks


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which this worker may hold a part, as a whole; all workers ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """The part of a whole tensor that this worker holds of ``pattern``."""
    if not isinstance(pattern, DTensor):
        return tensor
    # Without a source rank each worker cuts its part out of its own copy: nothing is sent.
    tensor = tensor.to(pattern.device)
    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements, src_data_rank=None)
