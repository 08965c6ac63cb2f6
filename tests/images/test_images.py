"""Each image's own install steps, carried out in an empty folder: it starts, and what is not in it.

The orchestrator's always; the other three with ``--all-images`` (``make images-check``), which downloads a
gigabyte and takes minutes.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.images.lock import IMAGES, read_pins
from services.cli.up.probes import grpc_probe, http_probe
from tests.fakes.servers import free_port
from tests.images.building import Built
from tests.images.running import can_close_the_root, run_python, started

Build = Callable[[str, str], Built]
COMPILER = re.compile(r"(x86_64-linux-gnu-)?(gcc|g\+\+|cc|c\+\+|clang|nvcc|cicc|tcc)(-\d+)?")
MODELS = {"torch", "vllm", "transformers", "peft", "sentence_transformers", "triton", "tokenizers", "nvidia"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def orchestrator(build: Build) -> Built:
    return build("orchestrator", "orchestrator")


@pytest.fixture(scope="module")
def model_service(build: Build, request: pytest.FixtureRequest) -> Built:
    """The CPU variant of a service that owns a model."""
    if not request.config.getoption("--all-images"):
        pytest.skip("the orchestrator's image alone is built here; 'make images-check' builds all")
    return build(request.param, "cpu")


def _assert_complete(built: Built, name: str) -> None:
    """Exactly the locked packages are there, and ``pip check`` misses what is left out on purpose alone."""
    (image,) = (image for image in IMAGES if image.name == name)
    environment = {**os.environ, "PYTHONPATH": str(built.app)}
    pip = [sys.executable, "-m", "pip", "--python", str(built.python)]
    shown = subprocess.run(
        [*pip, "list", "--format=json"], capture_output=True, text=True, env=environment, timeout=120
    )
    found = {
        one["name"].lower().replace("_", "-").replace(".", "-"): one["version"]
        for one in json.loads(shown.stdout)
    }
    assert found.pop("valign") == run_python(built, _VERSION).strip()
    assert found == read_pins(image.path)
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, env=environment, timeout=120)
    missing = {
        re.fullmatch(r"\S+ \S+ requires (\S+), which is not installed\.", line)
        for line in checked.stdout.splitlines()
    }
    if image.without:
        assert {one and one[1] for one in missing} == set(image.without), checked.stdout
    else:
        assert (checked.returncode, checked.stdout.strip()) == (0, "No broken requirements found.")


_VERSION = "from importlib.metadata import version; print(version('valign'))"


def _assert_holds_no_more_than_it_needs(built: Built, service: str) -> None:
    """No compiler, no tests, no other service; and what was left out of the build is what the engine does."""
    programs = [path.name for path in built.root.rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    assert not [name for name in programs if COMPILER.fullmatch(name)]
    assert {path.name for path in built.app.iterdir() if path.suffix != ".dist-info"} == {"services"}
    assert {path.name for path in (built.app / "services").iterdir()} - {"__pycache__", "__init__.py"} == {
        "common",
        service,
    }
    assert {path.name for path in (built.root / "opt/valign").iterdir()} == {"venv", "app"}
    assert not (built.site_packages / "pip").exists()
    assert all(line.startswith(("groupadd ", "apt-get ")) for line in built.left_out)


def _paths(built: Built) -> set[str]:
    volumes = (built.root / "var/lib/valign", built.root / "tmp")
    return {
        str(path) for path in built.root.rglob("*") if not any(path.is_relative_to(one) for one in volumes)
    }


def test_orchestrators_image_is_complete_and_holds_no_model_library(orchestrator: Built) -> None:
    _assert_complete(orchestrator, "orchestrator")
    _assert_holds_no_more_than_it_needs(orchestrator, "orchestrator")
    assert not {path.name for path in orchestrator.site_packages.iterdir()} & MODELS
    assert run_python(orchestrator, _SEARCH).split() == []


_SEARCH = f"from importlib.util import find_spec; print(*[one for one in {sorted(MODELS)} if find_spec(one)])"


def test_orchestrators_image_serves_and_stops_as_a_user_who_can_write_to_the_volumes_alone(
    orchestrator: Built,
) -> None:
    before = _paths(orchestrator)
    http, rpc = free_port(), free_port()
    settings = {"VALIGN_ORCHESTRATOR_HTTP_PORT": str(http), "VALIGN_ORCHESTRATOR_PORT": str(rpc)}
    with started(orchestrator, settings) as service:
        service.wait_until(http_probe(f"http://127.0.0.1:{http}/readyz"), 60)
        service.wait_until(grpc_probe(f"127.0.0.1:{rpc}"), 10)
        for path in ("/", "/v1/studies/template"):
            with urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=10) as answer:
                assert answer.status == 200
                assert answer.read()
        assert service.stop() == 0
        assert "service.stopped" in service.log
    assert _paths(orchestrator) - before == {str(orchestrator.root / "log")}
    assert (orchestrator.root / "var/lib/valign/orchestrator/orchestrator.db").exists()


def test_orchestrators_image_upgrades_a_database_by_its_maintenance(orchestrator: Built) -> None:
    code = (
        "import sys; from services.orchestrator.maintenance.__main__ import main; sys.exit(main(['upgrade']))"
    )
    run_python(orchestrator, code)
    assert (orchestrator.root / "var/lib/valign/orchestrator/orchestrator.db").exists()


@pytest.mark.parametrize(
    "place", ["/opt/valign/app/services/new", "/opt/valign/venv/new", "/etc/new", "/new"]
)
def test_orchestrators_image_of_a_write_beside_the_volumes_refuses(orchestrator: Built, place: str) -> None:
    path = f"{orchestrator.root}{place}" if place.startswith("/opt") else place
    code = f"""
import os
try:
    open({path!r}, "w")
except OSError as error:
    print(error.errno)
print(os.getuid())
"""
    refused, user = run_python(orchestrator, code).split()
    assert int(refused) in ({30} if can_close_the_root() else {13, 30})
    assert int(user) != 0


@pytest.mark.parametrize("model_service", ["embedder", "trainer", "generator"], indirect=True)
def test_model_services_image_is_complete_serves_and_stops(
    model_service: Built, smollm2: Path, minilm: Path
) -> None:
    name = model_service.entrypoint[-1].removeprefix("services.")
    _assert_complete(model_service, f"{name}-cpu")
    _assert_holds_no_more_than_it_needs(model_service, name)
    before = _paths(model_service)
    port = free_port()
    prefix = f"VALIGN_{name.upper()}_"
    model = {"embedder": minilm, "generator": smollm2}.get(name)
    settings = {f"{prefix}PORT": str(port), f"{prefix}METRICS_PORT": "0", "HF_HUB_OFFLINE": "1"}
    if model:
        settings[f"{prefix}MODEL"] = str(model.resolve())
    with started(model_service, settings) as service:
        service.wait_until(grpc_probe(f"127.0.0.1:{port}"), 300)
        assert service.stop() == 0
        assert "service.stopped" in service.log
    assert _paths(model_service) - before == {str(model_service.root / "log")}
