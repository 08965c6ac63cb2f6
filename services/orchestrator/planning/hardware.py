"""On what past runs ran: a speed that was measured there says nothing of other hardware."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.orchestrator.planning.devices import Device

GENERATED_ON = "generated_on"
TRAINED_ON = "trained_on"
"""Keys of a run's values: ``device``, ``name`` and ``gpus``, as generator and trainer said them."""

# Replicas are told by the GPU-seconds that they spent: the last completions leave some of them idle.
_NEARLY = 0.2


@dataclass(frozen=True, slots=True)
class Hardware:
    """What generated, or what trained.

    Attributes:
        device: "cpu" or "cuda"; "" where a run of an earlier version does not say.
        name: what the driver calls the GPU; "" on a CPU.
        gpus: of one engine, or of one training job; 0 where that is not known, or on a CPU.
        replicas: engines that shared the work, measured and so no whole number; 0 where it is not known.
    """

    device: str = ""
    name: str = ""
    gpus: int = 0
    replicas: float = 0.0

    def __str__(self) -> str:
        if self.device != "cuda":
            return {"cpu": "a CPU"}.get(self.device, self.device or "hardware that they do not tell")
        engines = f", {self.replicas:.0f} engines" if round(self.replicas) > 1 else ""
        return f"{self.gpus or '?'} x {self.name or 'a GPU'}{engines}"

    def like(self, other: "Hardware") -> bool:
        """Whether speeds of both may be put together."""
        mine, theirs = round(self.replicas), round(other.replicas)
        return (self.device, self.name, self.gpus, mine) == (other.device, other.name, other.gpus, theirs)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan is made for.

    Attributes:
        device: the device; None if none was named, so that what serves is meant.
        named: its name was given, and not its memory alone.
        gpus, replicas: as many as are planned for; None if nothing was said of them.
        serving: the device that serves now says that it is; "" where nothing says it.
    """

    device: Device | None = None
    named: bool = False
    gpus: int | None = None
    replicas: int | None = None
    serving: str = ""

    def met_by(self, found: Hardware) -> bool:
        """Whether what was measured on ``found`` tells the speed of this."""
        if self.device is not None and found.device != "cuda":
            return False
        if self.device is not None and self.named and not self.device.is_called(found.name):
            return False
        if self.serving and found.device and found.device != self.serving:
            return False
        if self.gpus is not None and max(1, found.gpus) != self.gpus:
            return False
        known = found.replicas or 1.0
        return self.replicas is None or abs(known - self.replicas) <= _NEARLY * self.replicas

    def __str__(self) -> str:
        name = self.device.name if self.device else self.serving or "what serves"
        gpus = "" if self.gpus is None else f"{self.gpus} x "
        return f"{gpus}{name}" + (f", {self.replicas} engines" if (self.replicas or 1) > 1 else "")


def hardware_of(stored: Mapping[str, Any] | None, replicas: float = 0.0) -> Hardware:
    """From a run's value; None is a run that keeps none."""
    known = stored or {}
    return Hardware(
        str(known.get("device", "")), str(known.get("name", "")), int(known.get("gpus", 0)), replicas
    )
