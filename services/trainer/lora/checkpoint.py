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

log = structlog.get_logger(__name__)

_KEEP = 2


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
) -> None:
    """Write ``step-<n>.safetensors`` in one step and drop all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = torch.as_tensor(value).contiguous()
    path = folder / f"step-{position.step:08d}.safetensors"
    part = folder / f".{path.name}.part"
    save_file(tensors, part, metadata={"position": json.dumps(asdict(position))})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    for old in _files(folder)[:-_KEEP]:
        old.unlink()


def load_checkpoint(
    folder: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Position:
    """Restore the newest checkpoint that can be read; ``Position()`` if there is none."""
    for path in reversed(_files(folder)):
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                position = Position(**json.loads(file.metadata()["position"]))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("checkpoint.unreadable", path=str(path), error=str(error))
            continue
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
        # Through the optimizer, which knows where each tensor belongs: a fused AdamW wants even the number
        # of steps on the parameters' device.
        moments = {
            index: {key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            for index, name in enumerate(parameters)
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        log.info("checkpoint.restored", step=position.step)
        return position
    return Position()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))
