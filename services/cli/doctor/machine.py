"""GPU, cores, memory and disk."""

import os
import shutil
import subprocess
from pathlib import Path

from services.cli.doctor.check import Check

GIB = 1024**3


def gpus() -> list[str]:
    """Return name and memory of each NVIDIA GPU, as nvidia-smi tells them."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)  # noqa: S603 - fixed
    except subprocess.TimeoutExpired:
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def has_gpu() -> bool:
    """Return whether nvidia-smi finds a GPU."""
    return bool(gpus())


def gpu_check(found: list[str]) -> Check:
    """Say which GPUs there are; a machine without one works, slowly."""
    if found:
        return Check("gpu", "ok", "; ".join(found))
    return Check(
        "gpu", "warn", "none found by nvidia-smi", "Small models run on the CPU; see `valign run demo`."
    )


def cores_check() -> Check:
    """Check the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        return Check("cores", "warn", f"{cores}", "Give it two or more: services share them.")
    return Check("cores", "ok", f"{cores}")


def memory_check(meminfo: Path = Path("/proc/meminfo"), needed_gib: float = 8.0) -> Check:
    """Check the memory that is available now; the demo's four services need about 8 GiB."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    total, available = (int(fields[name].split()[0]) / 1024**2 for name in ("MemTotal", "MemAvailable"))
    detail = f"{available:.1f} GiB available of {total:.1f}"
    if available < needed_gib:
        return Check("memory", "warn", detail, f"Free {needed_gib:.0f} GiB, or use a machine with more.")
    return Check("memory", "ok", detail)


def disk_check(home: Path, needed_gib: float = 5.0) -> Check:
    """Check the free space where the home folder is, or would be."""
    place = home.resolve()
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / GIB
    detail = f"{free_gib:.1f} GiB free at {place}"
    if free_gib < needed_gib:
        return Check("disk", "warn", detail, f"Free {needed_gib:.0f} GiB, or choose another --home.")
    return Check("disk", "ok", detail)
