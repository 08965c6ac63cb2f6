"""Rules of the code base that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
MODULES = sorted(path for path in SERVICES.rglob("*.py") if "pb" not in path.relative_to(SERVICES).parts)
HEAVY = {"torch", "vllm", "transformers", "peft", "sentence_transformers", "ray", "bitsandbytes"}
# The one place of each service where model libraries are imported. The generator has two: vLLM's engine, and
# vLLM's own HTTP server around it. The trainer's are the modules that only a job's processes import.
HEAVY_HOMES = {
    "services/generator/engine.py",
    "services/generator/openai_app.py",
    "services/embedder/encoder.py",
    "services/trainer/lora/train.py",
    "services/trainer/lora/loss.py",
    "services/trainer/lora/model.py",
    "services/trainer/lora/canaries.py",
    "services/trainer/lora/checkpoint.py",
    "services/trainer/lora/dropout.py",
    "services/trainer/lora/world.py",
    "services/trainer/lora/quantise.py",
    "services/trainer/lora/launch_torchrun.py",
    "services/trainer/lora/launch_ray.py",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_modules_are_found() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_heavy_libraries_only_in_their_home(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if _name(path) not in HEAVY_HOMES:
        assert not _imports(tree) & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_environment_is_read_in_settings_alone(path: Path) -> None:
    if path.name != "settings.py":
        assert not re.search(r"\bos\.(environ|getenv|putenv)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_has_at_most_400_lines_and_a_purpose(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert path.stem not in {"utils", "helpers", "misc"}
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{_name(path)} does not say what it is for"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_names_no_test_double(path: Path) -> None:
    assert "tests.fakes" not in path.read_text(encoding="utf-8")


def test_dependencies_of_service_imports_stay_light() -> None:
    """The command line and the orchestrator start without a model library in memory."""
    import subprocess
    import sys

    for module in ("services.cli.__main__", "services.orchestrator.__main__"):
        code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", module
