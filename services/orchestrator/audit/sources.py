"""Which of valign's sources a bundle carries, so that it can be recomputed without valign."""

from functools import cache
from pathlib import Path
from typing import Final

PACKAGES: Final = ("analysis", "domain")
MODULES: Final = (
    "__init__",
    "schemas",
    "report/__init__",
    "report/projection",
    "report/schema",
    "audit/__init__",
    "audit/checking",
    "audit/comparing",
    "audit/expected",
    "audit/files",
    "audit/keeping",
    "audit/paper",
    "audit/prompts",
    "audit/recompute",
    "audit/record",
)
LIBRARIES: Final = (
    "numpy",
    "pydantic",
    "rapidfuzz",
    "sacrebleu",
    "scikit-learn",
    "scipy",
)
_SERVICES = Path(__file__).resolve().parents[2]


@cache
def source_files() -> tuple[tuple[str, bytes], ...]:
    """(name below ``source/``, content), by name: this process's own files, as they were when first read."""
    orchestrator = _SERVICES / "orchestrator"
    paths = {_SERVICES / "__init__.py", *(orchestrator / f"{name}.py" for name in MODULES)}
    for package in PACKAGES:
        paths |= {path for path in (orchestrator / package).rglob("*") if path.is_file() and _is_source(path)}
    return tuple(sorted((path.relative_to(_SERVICES.parent).as_posix(), path.read_bytes()) for path in paths))


def _is_source(path: Path) -> bool:
    return "__pycache__" not in path.parts and not path.name.startswith(".")
