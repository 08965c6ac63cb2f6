"""Images that are built once for all tests of this folder."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images.building import Builder, Built, find_python, set_writable

# What is tried for PyTorch's CPU build: pip's configured places, then the Dockerfile's own default.
_TORCH: tuple[dict[str, str], ...] = ({"TORCH_INDEX_URL": ""}, {})


@pytest.fixture(scope="module")
def build() -> Iterator[Callable[[str, str], Built]]:
    """Carries out the Dockerfile of a service for a target; the folder is removed in the end."""
    if os.name != "posix" or (python := find_python()) is None:
        pytest.skip("no Python 3.11 that user 10001 may run; install python3.11 and python3.11-venv")
    folders: list[Path] = []

    def carry_out(service: str, target: str) -> Built:
        tried = (_TORCH[1],) if service == "orchestrator" else _TORCH
        for number, arguments in enumerate(tried):
            # Not in pytest's own folder: that one is closed to the user of the images.
            root = Path(tempfile.mkdtemp(prefix=f"valign-image-{service}-"))
            root.chmod(0o755)
            folders.append(root)
            try:
                return Builder(service, target, root, python, arguments).build()
            except AssertionError:
                if number + 1 == len(tried):
                    raise
        raise AssertionError("nothing was tried")

    yield carry_out
    for folder in folders:
        set_writable(folder, True)
        shutil.rmtree(folder)
