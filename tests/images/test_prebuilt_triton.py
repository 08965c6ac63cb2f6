"""The module that Triton would compile at the first kernel, made beforehand, for an image without a compiler.

Triton itself asks for it here, with no compiler on its path. There is no GPU in this test: a library of the
same names stands where the driver's would be, since the module is linked to it.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.images.dockerfile import ROOT

SCRIPTS = ROOT / "scripts" / "images"
_ASK = """
import pathlib, sys
from triton.backends.nvidia import driver
from triton.runtime import build
source = pathlib.Path(driver.dirname, "driver.c").read_text() + sys.argv[1]
module = build.compile_module_from_src(src=source, name="cuda_utils", include_dirs=driver.include_dirs)
print(hasattr(module, "load_binary"), hasattr(module, "launch"))
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("gcc") or find_spec("triton") is None,
    reason="needs gcc and the environment's triton: apt-get install gcc libc6-dev; make setup",
)


@pytest.fixture(scope="module")
def prebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that prebuild_triton.sh fills."""
    spec = find_spec("triton")
    assert spec
    assert spec.origin
    target = tmp_path_factory.mktemp("prebuilt") / "triton"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [SCRIPTS / "prebuild_triton.sh", Path(spec.origin).parents[1], target],
        check=True,
        env={**os.environ, "PATH": path},
        timeout=120,
    )
    return target


def _ask_triton(prebuilt: Path, folder: Path, added: str) -> subprocess.CompletedProcess[str]:
    names = subprocess.run(
        ["nm", "-D", "--undefined-only", prebuilt / "cuda_utils.so"],
        capture_output=True,
        text=True,
        check=True,
    )
    stub = "".join(
        f"int {line.split()[-1]}(void) {{ return 999; }}\n"
        for line in names.stdout.splitlines()
        if line.split()[-1].startswith("cu")
    )
    (folder / "stub.c").write_text(stub, encoding="utf-8")
    library = ["-shared", "-o", "libcuda.so.1", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *library, "stub.c"], cwd=folder, check=True, timeout=60)
    tools = folder / "bin"
    tools.mkdir()
    for name in ("sha256sum", "cut", "cat", "cp", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    environment = {
        "CC": str(prebuilt / "cc"),
        "HOME": str(folder),
        "LD_LIBRARY_PATH": str(folder),
        "PATH": str(tools),
        "TRITON_CACHE_DIR": str(folder / "cache"),
    }
    asked = [sys.executable, "-c", _ASK, added]
    return subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=120)


def test_triton_without_a_compiler_loads_the_prebuilt_module(prebuilt: Path, tmp_path: Path) -> None:
    done = _ask_triton(prebuilt, tmp_path, "")
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr


def test_triton_with_another_source_is_told_that_there_is_no_compiler(prebuilt: Path, tmp_path: Path) -> None:
    done = _ask_triton(prebuilt, tmp_path, "/* another */")
    assert done.returncode != 0
    assert "this image holds no compiler" in done.stderr


def test_cc_without_a_source_refuses(prebuilt: Path) -> None:
    done = subprocess.run([prebuilt / "cc", "--version"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "no compiler" in done.stderr


def test_module_names_the_machines_driver(prebuilt: Path) -> None:
    assert b"libcuda.so.1" in (prebuilt / "cuda_utils.so").read_bytes()
