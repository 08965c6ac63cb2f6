"""Checkpoints of a running job: everything that the next step depends on.

A checkpoint is one safetensors file (adapter weights and both AdamW moments) with the
position in its header. The schedule, the order of the examples and the random numbers of
a step are functions of (seed, step), so the position stands for them too. Nothing is ever
unpickled.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from services.common.errors import PreconditionError
from services.trainer.lora.world import World, like, whole

log = structlog.get_logger(__name__)

_KEEP = 2
_ALONE = World()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a job is: steps done, real tokens seen, seconds spent in steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def save_checkpoint(
    folder: Path,
    position: Position,
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    world: World = _ALONE,
) -> None:
    """Write ``step-<n>.safetensors`` in one step and drop all but the last two.

    All workers call it, since each may hold a part; worker 0 writes. What is written does not depend on how
    many workers there are, so that others can go on with it.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = whole(parameter.detach()).contiguous()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = whole(torch.as_tensor(value)).contiguous()
    if not world.leads:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{position.step:08d}.safetensors"
    part = folder / f".{path.name}.part"
    save_file(tensors, part, metadata={"position": json.dumps(asdict(position))})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    for old in _files(folder)[:-_KEEP]:
        old.unlink()


def load_checkpoint(
    folder: Path,
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    world: World = _ALONE,
) -> Position:
    """Restore the newest checkpoint that worker 0 can read; ``Position()`` if there is none.

    Raises:
        PreconditionError: another worker does not find in the folder what worker 0 has found.
    """
    found = _newest(folder) if world.leads else None
    step = world.told_by_leader(found[0].step if found else 0)
    if step == 0:
        return Position()
    if found is None:
        # Not the newest, which may have been written since: that which worker 0 has chosen.
        found = _read(folder / f"step-{step:08d}.safetensors")
    if found is None:
        raise PreconditionError(
            f"worker {world.rank} cannot read the checkpoint of step {step} in {folder}; the trainer's state "
            "folder must be one and the same for all workers"
        )
    position, tensors = found
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(like(tensors[f"weight/{name}"], parameter))
    # Through the optimizer, which knows where each tensor belongs: a fused AdamW wants even the number
    # of steps on the parameters' device.
    moments = {
        index: {
            "step": tensors[f"step/{name}"],
            **{key: like(tensors[f"{key}/{name}"], parameter) for key in ("exp_avg", "exp_avg_sq")},
        }
        for index, (name, parameter) in enumerate(parameters.items())
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    log.info("checkpoint.restored", step=position.step)
    return position


def _newest(folder: Path) -> tuple[Position, dict[str, Tensor]] | None:
    return next((found for path in reversed(_files(folder)) if (found := _read(path))), None)


def _read(path: Path) -> tuple[Position, dict[str, Tensor]] | None:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Position(**json.loads(file.metadata()["position"])), tensors
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log.warning("checkpoint.unreadable", path=str(path), error=str(error))
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))
