"""Devices by name: memory, arithmetic and bandwidth as their makers' data sheets state them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    Attributes:
        name: what it is called in a plan.
        memory_gib: memory that a process sees, GiB.
        tflops: dense bfloat16 arithmetic, 10^12 operations a second; 0 if it is not known.
        gb_s: memory bandwidth, 10^9 bytes a second; 0 if it is not known.
    """

    name: str
    memory_gib: float
    tflops: float = 0.0
    gb_s: float = 0.0

    def is_called(self, driver_name: str) -> bool:
        """Whether a driver's name is that of this device: "NVIDIA A100-SXM4-80GB" is a100-80."""
        words = _words(driver_name)
        # A part of a GPU is no GPU of that name.
        return _DRIVER_WORDS.get(self.name, _words(self.name)) <= words and "mig" not in words


_DRIVER_WORDS = {"a100-40": {"a100", "40gb"}, "a100-80": {"a100", "80gb"}}


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", name.lower()) if word}


DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device("l4", 22.0, 121, 300),
        Device("l40s", 44.5, 362, 864),
        Device("a100-40", 39.4, 312, 1555),
        Device("a100-80", 79.2, 312, 2039),
        Device("h100", 79.2, 989, 3350),
        Device("h200", 139.8, 989, 4800),
    )
}


def device_of(name: str, memory_gib: float | None) -> Device | None:
    """The device by name, with another memory if that is given; None if neither is said.

    InvalidInputError for a name that is not known and has no memory beside it.
    """
    known = DEVICES.get(name.lower())
    if known is None and name and memory_gib is None:
        raise InvalidInputError(
            f"there is no device {name[:80]!r}; there are {', '.join(DEVICES)}, or give its memory in GiB"
        )
    if memory_gib is None:
        return known
    return Device(
        name or f"{memory_gib:g} GiB",
        memory_gib,
        known.tflops if known else 0.0,
        known.gb_s if known else 0.0,
    )
