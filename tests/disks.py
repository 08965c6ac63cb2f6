"""A disk that can be filled: a small tmpfs. Mounting needs a right that not every machine gives its tests."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[Path]:
    """Mount it at ``place``, which is made; the test is skipped, with the reason, if it may not."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a disk that can be filled needs the right to mount a tmpfs: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def resize(place: Path, size_bytes: int) -> None:
    """Give the disk another size; what is on it stays."""
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", str(place)], check=True)
