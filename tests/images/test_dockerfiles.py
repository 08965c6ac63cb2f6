"""What every Dockerfile must say, read out of it; and hadolint."""

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from scripts.images.lock import IMAGES
from tests.images.dockerfile import ROOT, SERVICES, TARGETS, is_ignored, read_dockerfile

IDS = [f"{service}-{target}" for service, target in TARGETS]
images = pytest.mark.parametrize(("service", "target"), TARGETS, ids=IDS)
services = pytest.mark.parametrize("service", SERVICES)
VOLUMES = ("/var/lib/valign", "/tmp")
COMPILERS = re.compile(r"\b(gcc|g\+\+|clang|build-essential|libc6-dev|nvcc|cmake|rustc|cargo)\b")


def test_hadolint_of_every_dockerfile_finds_nothing() -> None:
    files = sorted(str(path) for path in (ROOT / "services").glob("*/Dockerfile"))
    assert len(files) == len(SERVICES)
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", *files], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_hadolint_of_a_faulty_dockerfile_says_so(tmp_path: Path) -> None:
    faulty = tmp_path / "Dockerfile"
    faulty.write_text("FROM python\nRUN sudo pip install numpy\n", encoding="utf-8")
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", faulty], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "DL3006" in done.stdout


@images
def test_image_is_the_last_of_several_stages_of_one_pinned_base(service: str, target: str) -> None:
    file = read_dockerfile(service)
    default = file.arguments["PYTHON_IMAGE"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", default)
    line = file.line(target)
    assert line[0].base == default
    assert len(file.stages) > len(line)
    assert len({each.arguments["PYTHON_IMAGE"] for each in map(read_dockerfile, SERVICES)}) == 1


@images
def test_image_runs_as_a_user_without_rights_by_number(service: str, target: str) -> None:
    file = read_dockerfile(service)
    assert file.last(target, "USER").text == "10001:10001"
    made = " ".join(one.text for stage in file.line(target) for one in stage.of("RUN"))
    assert "useradd --uid 10001" in made


@images
def test_image_starts_its_service_without_a_shell_and_stops_by_sigterm(service: str, target: str) -> None:
    file = read_dockerfile(service)
    entry = file.last(target, "ENTRYPOINT")
    assert entry.text.startswith("[")
    assert entry.words() == ["python", "-m", f"services.{service}"]
    assert file.last(target, "STOPSIGNAL").text == "SIGTERM"


@images
def test_image_writes_to_its_volumes_alone(service: str, target: str) -> None:
    file = read_dockerfile(service)
    assert tuple(file.last(target, "VOLUME").words()) == VOLUMES
    assert file.last(target, "WORKDIR").text == VOLUMES[0]
    environment = file.environment(target)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR"):
        assert environment[name].startswith(VOLUMES), name
    for name, value in environment.items():
        if name.startswith("VALIGN_"):
            assert value.startswith(VOLUMES[0]), name
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"


@images
def test_image_holds_no_setting_that_opens_it_to_the_network(service: str, target: str) -> None:
    environment = read_dockerfile(service).environment(target)
    assert not [name for name in environment if name.endswith(("_HOST", "_ALLOW_INSECURE_NETWORK"))]


@images
def test_image_installs_no_compiler_in_its_own_stages(service: str, target: str) -> None:
    for stage in read_dockerfile(service).line(target):
        for one in stage.of("RUN"):
            assert not COMPILERS.search(one.text), one.text


@images
def test_image_has_the_labels_that_registries_show(service: str, target: str) -> None:
    file = read_dockerfile(service)
    labels = {
        key: value
        for stage in file.line(target)
        for one in stage.of("LABEL")
        for key, value in one.pairs().items()
    }
    start = "org.opencontainers.image."
    assert set(labels) == {
        f"{start}{key}" for key in ("title", "description", "version", "revision", "licenses")
    }
    assert labels[f"{start}licenses"] == "Apache-2.0"


@services
def test_version_of_the_image_is_that_of_the_project(service: str) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', text, re.M)
    assert version
    assert f"ARG VERSION={version[1]}\n" in (ROOT / "services" / service / "Dockerfile").read_text(
        encoding="utf-8"
    )


@images
def test_image_copies_the_code_of_its_own_service_alone(service: str, target: str) -> None:
    file = read_dockerfile(service)
    taken = {one.flag("from") for stage in file.line(target) for one in stage.of("COPY")}
    code = {word for one in file.stages["code"].of("COPY") for word in one.words()[:-1] if "services" in word}
    assert None not in taken
    assert code == {"services/__init__.py", "services/common", f"services/{service}"}


@services
def test_packages_are_installed_from_a_lock_and_without_what_it_does_not_name(service: str) -> None:
    installs = 0
    for stage in read_dockerfile(service).stages.values():
        named = {word for one in stage.of("COPY") for word in one.words() if word.startswith("requirements/")}
        for one in stage.of("RUN"):
            for command in one.text.split("&&"):
                if " install " in command and "pip " in command:
                    installs += 1
                    assert " -r " in command
                    assert "--no-cache-dir" in command
                    assert "--no-deps" in command or command.split()[-1] == "tools.txt"
                    assert named
    known = [image for image in IMAGES if image.name.partition("-")[0] == service]
    assert installs == len(known) + 1


@services
def test_no_address_of_a_package_index_is_fixed_but_pytorchs_default(service: str) -> None:
    file = read_dockerfile(service)
    for stage in file.stages.values():
        for one in stage.instructions:
            if "://" in one.text:
                assert (one.name, one.text) == (
                    "ARG",
                    "TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu",
                )


@services
def test_every_source_of_a_copy_is_there_and_seen_by_the_build(service: str) -> None:
    for stage in read_dockerfile(service).stages.values():
        for one in stage.of("COPY"):
            if one.flag("from") is None:
                for source in one.words()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert not is_ignored(PurePosixPath(source)), source


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("services/orchestrator/__main__.py", False),
        ("services/orchestrator/data/topics/default.yaml", False),
        ("requirements/images/orchestrator.txt", False),
        ("pyproject.toml", False),
        ("services/orchestrator/__pycache__/__main__.cpython-311.pyc", True),
        ("services/orchestrator/Dockerfile", True),
        ("services/cli/__main__.py", True),
        ("tests/fakes/fake_engine.py", True),
        ("bench/loop.py", True),
        (".git/config", True),
        (".cache/models/model.safetensors", True),
        ("k8s/base/secret.yaml", True),
    ],
)
def test_dockerignore_of_a_path_lets_in_what_images_are_made_of(path: str, ignored: bool) -> None:
    assert is_ignored(PurePosixPath(path)) is ignored


def test_every_cuda_image_takes_the_gpu_and_no_other_does() -> None:
    for service, target in TARGETS:
        environment = read_dockerfile(service).environment(target)
        assert ("NVIDIA_VISIBLE_DEVICES" in environment) == (target == "cuda"), (service, target)
