"""A bundle's own script, in a Python of its own; and the verifier, as the command line starts it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.audit.__main__ import main
from services.orchestrator.audit.build import read_report, requirements
from services.orchestrator.audit.sources import LIBRARIES, source_files
from services.orchestrator.report.schema import Report
from tests.bundles import bundle_of, change
from tests.unit.orchestrator.audit.conftest import Bundled


def _unpack(bundle: Path, folder: Path) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    return folder


def _recompute(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", *options, str(folder / "recompute.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


def test_recompute_in_isolated_python_runs_the_bundles_own_sources(bundled: Bundled, tmp_path: Path) -> None:
    folder = _unpack(bundled.path, tmp_path / "bundle")
    module = folder / "source/services/orchestrator/audit/recompute.py"
    module.write_text(
        module.read_text() + "\nprint('sources:', sorted({m.__file__ for n, m in "
        "__import__('sys').modules.items() if n.startswith('services')}))\n"
    )
    done = _recompute(folder)
    files = done.stdout.splitlines()[0]
    assert files.startswith("sources: ")
    assert str(folder / "source/services/orchestrator/analysis/compute.py") in files
    assert files.count(".py") == files.count(str(folder / "source"))
    # That module was changed, and the script says so.
    assert done.returncode == 1
    assert "source/services/orchestrator/audit/recompute.py: changed" in done.stdout


def test_recompute_of_an_untouched_bundle_says_verified(bundled: Bundled, tmp_path: Path) -> None:
    done = _recompute(_unpack(bundled.path, tmp_path / "bundle"), "-W", "error::DeprecationWarning:services")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("VERIFIED: ")
    assert "wall time: created_at, timings_s.uncover" in done.stdout
    assert "cannot find: a bundle that somebody forged as a whole" in done.stdout
    assert not list((tmp_path / "bundle").rglob("__pycache__"))


def test_recompute_with_a_changed_number_names_it_and_fails(bundled: Bundled, tmp_path: Path) -> None:
    def edit(data: bytes) -> bytes:
        report = json.loads(data)
        report["overall"]["after"] *= 0.9
        return json.dumps(report).encode()

    changed = change(bundled.path, tmp_path / "changed.zip", {"report.json": edit})
    done = _recompute(_unpack(changed, tmp_path / "bundle"))
    assert done.returncode == 1
    assert "report.json overall.after: " in done.stdout
    assert "NOT VERIFIED: 1 fault, listed above." in done.stdout


def test_source_files_import_nothing_that_the_bundle_lacks() -> None:
    names = {name for name, _ in source_files()}
    assert "services/orchestrator/analysis/compute.py" in names
    assert "services/orchestrator/domain/difference.py" in names
    assert not [name for name in names if "__pycache__" in name or "/common/" in name or "/loop/" in name]
    assert sorted(names) == [name for name, _ in source_files()]


def test_requirements_pin_every_library_of_the_analysis() -> None:
    lines = requirements().splitlines()
    assert lines[0].startswith("# Python 3.")
    pinned = {line.partition("==")[0] for line in lines[1:]}
    assert set(LIBRARIES) <= pinned
    assert "pydantic-core" in pinned


def _main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["verify", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_main_verify_with_the_real_page_verifies(
    bundled: Bundled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from services.orchestrator.report.html import render_html

    path = tmp_path / "bundle.zip"
    digest = bundle_of(bundled.world, path, render_html)
    status, out, _ = _main(capsys, str(path), "--expect-sha256", digest)
    assert status == 0, out
    assert f"sha256 of the bundle: {digest}" in out
    assert "VERIFIED: " in out

    page = change(
        path, tmp_path / "page.zip", {"report.html": lambda data: data.replace(b"Hold", b"Promote")}
    )
    status, out, _ = _main(capsys, str(page))
    assert status == 1
    assert "report.html: not the page of report.json" in out


def test_main_verify_with_another_sha256_than_told_fails(
    bundled: Bundled, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = _main(capsys, str(bundled.path), "--expect-sha256", "0" * 64)
    assert status == 1
    assert f"the bundle's sha256 is {bundled.sha256}, you were told {'0' * 64}" in out


def test_main_verify_json_is_one_object(bundled: Bundled, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _main(capsys, str(bundled.path), "--json")
    found = json.loads(out)
    assert err == ""
    # The page of this bundle is a stand-in; all else is as it should be.
    assert status == 1
    assert [check["id"] for check in found["checks"] if not check["ok"]] == ["page"]
    assert found["sha256"] == bundled.sha256
    assert found["numbers"]["differences"] == []
    assert "forged as a whole" in found["cannot_find"]


def test_main_verify_of_another_version_of_valign_is_told(
    bundled: Bundled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(data: bytes) -> bytes:
        facts = json.loads(data)
        facts["valign"], facts["libraries"]["numpy"] = "0.0.1", "1.0"
        return json.dumps(facts).encode()

    other = change(bundled.path, tmp_path / "other.zip", {"bundle.json": edit})
    status, out, _ = _main(capsys, str(other))
    assert status == 0, out
    assert "note: made with valign 0.0.1, checked with " in out
    assert "note: made with numpy 1.0, checked with " in out
    assert "Not asked: it was drawn with valign 0.0.1" in out


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_main_verify_of_no_bundle_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "no.zip"
    if content is not None:
        path.write_bytes(content)
    status, _, err = _main(capsys, str(path))
    assert status == 2
    assert str(path) in err
    status, out, _ = _main(capsys, str(path), "--json")
    assert status == 2
    assert json.loads(out)["ok"] is False


def test_main_verify_executes_nothing_of_the_bundle(bundled: Bundled, tmp_path: Path) -> None:
    """Started as the command line does, in a folder of a stranger's."""
    trap = b"raise SystemExit(77)\n"
    edits: dict[str, Any] = {"recompute.py": lambda data: trap}
    edits |= {f"source/{name}": (lambda data: trap) for name, _ in source_files()}
    changed = change(bundled.path, tmp_path / "changed.zip", edits)
    _unpack(changed, tmp_path)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_bytes(trap)
    command = [sys.executable, "-P", "-m", "services.orchestrator.audit", "verify", "--json", "changed.zip"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert [check["id"] for check in json.loads(done.stdout)["checks"] if not check["ok"]] == ["page"]


def test_write_bundle_twice_gives_equal_bytes(bundled: Bundled, tmp_path: Path) -> None:
    assert bundle_of(bundled.world, tmp_path / "again.zip") == bundled.sha256


def test_write_bundle_holds_prompts_completions_and_hashes(bundled: Bundled) -> None:
    with zipfile.ZipFile(bundled.path) as archive:
        names = set(archive.namelist())
        prompts = [json.loads(line) for line in archive.read("prompts.jsonl").splitlines()]
        completions = [json.loads(line) for line in archive.read("completions.jsonl").splitlines()]
        rows = [json.loads(line) for line in archive.read("evidence/vectors/primary.jsonl").split(b"\n")[:-1]]
        report = Report.model_validate_json(archive.read("report.json"))
    assert {
        "README.txt",
        "study.json",
        "bundle.json",
        "requirements.txt",
        "evidence/vectors/second.npy",
    } <= names
    assert {line["prompt"] for line in prompts} == {
        "original",
        "aligned",
        "aligned_other",
        "base_reference",
        "realigned",
    }
    realigned = next(line for line in prompts if line["prompt"] == "realigned" and len(line["arms"]) > 3)
    assert {"base_p3", "realigned-i2", "tuned-s1", "uniform"} <= set(realigned["arms"])
    assert len(completions) == len(bundled.world.store.completions("r-1"))
    assert {"outcome", "finish_reason", "adapter", "adapter_sha256", "sha256"} <= set(completions[0])
    assert {"sha256", "row_sha256", "text"} == set(rows[0])
    assert report == bundled.world.report


def test_read_report_of_another_version_names_the_run_and_the_remedy() -> None:
    with pytest.raises(PreconditionError, match="run r-1 was written by another version"):
        read_report("r-1", b'{"schema_version": "9.9"}')
