"""Backup, restore and check of an installation on SQLite and a local folder."""

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from services.common.artifacts import ArtifactStore, sha256_bytes
from services.common.errors import ConflictError, NotFoundError, PreconditionError
from services.orchestrator.maintenance.__main__ import main
from services.orchestrator.maintenance.backup import FACTS, back_up, restore
from services.orchestrator.maintenance.references import check
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.engine import open_engine
from services.orchestrator.store.registry import SqlRegistry
from tests.fakes.registry import new_adapter


def _settings(home: Path) -> OrchestratorSettings:
    return OrchestratorSettings(home=home)


def _installation(home: Path) -> tuple[OrchestratorSettings, ArtifactStore]:
    """One run that refers to one artifact."""
    home.mkdir()
    settings = _settings(home)
    store = SqlRunStore(settings.database)
    store.migrate()
    store.create_run("r-1", "x", {"name": "x"})
    artifacts = ArtifactStore(settings.artifact_root)
    kept = artifacts.put_bytes("runs/r-1/rows.npz", b"rows")
    store.put_value("r-1", "pairs", {"arrays": {"uri": kept.uri, "sha256": kept.sha256}, "n": [1, 2]})
    store.close()
    return settings, artifacts


def test_back_up_then_restore_elsewhere_gives_the_same_state(tmp_path: Path) -> None:
    settings, _ = _installation(tmp_path / "home")
    facts = back_up(settings, tmp_path / "backup")
    assert facts["files"].keys() == {"orchestrator.db"}
    restored = _settings(tmp_path / "other")
    restore(restored, tmp_path / "backup")
    store = SqlRunStore(restored.database)
    assert store.get_run("r-1").study == {"name": "x"}
    assert store.audit_log.head()[0] == 1
    store.close()
    copied = tmp_path / "other" / "artifacts" / "runs" / "r-1" / "rows.npz"
    assert copied.read_bytes() == b"rows"


def _pruned_after_the_database(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """The file goes after the artifacts were listed."""
    copy = shutil.copy2

    def copy2(source: Path, target: Path, **options: Any) -> None:
        file.unlink(missing_ok=True)
        copy(source, target, **options)

    monkeypatch.setattr(shutil, "copy2", copy2)


def test_back_up_passes_over_an_artifact_that_goes_meanwhile_and_check_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, artifacts = _installation(tmp_path / "home")
    artifacts.put_bytes("runs/r-1/other", b"other")
    _pruned_after_the_database(monkeypatch, tmp_path / "home" / "artifacts" / "runs" / "r-1" / "rows.npz")
    back_up(settings, tmp_path / "backup")
    monkeypatch.undo()
    # What was recorded by place is looked for at the same place.
    shutil.rmtree(tmp_path / "home")
    restore(settings, tmp_path / "backup")
    engine = open_engine(settings.database)
    assert [(f.kind, f.reference.owner) for f in check(engine, artifacts)[1]] == [("missing", "run r-1")]
    engine.dispose()
    assert artifacts.get_bytes(artifacts.uri("runs/r-1/other")) == b"other"


def test_back_up_while_an_adapter_is_pruned_is_one_that_check_tells_of_and_pruning_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, artifacts = _installation(tmp_path / "home")
    made = tmp_path / "made"
    made.mkdir()
    (made / "a.json").write_bytes(b"{}")
    (made / "b.json").write_bytes(b"{}")
    adapter = artifacts.put_folder("adapters/old", made, {})
    engine = open_engine(settings.database)
    SqlRegistry(engine).register(new_adapter("old", sha256=adapter.sha256, uri=adapter.uri, run_id="r-0"))
    copy = shutil.copy2

    def copy2(source: Path, target: Path, **options: Any) -> None:
        copy(source, target, **options)
        if SqlRegistry(engine).claim_pruning("old", "old", 1):
            artifacts.delete(adapter.uri)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", copy2)
        back_up(settings, tmp_path / "backup")
    assert [path.name for path in (tmp_path / "backup" / "artifacts" / "adapters" / "old").iterdir()] == [
        "a.json"
    ]
    engine.dispose()
    shutil.rmtree(tmp_path / "home")
    restore(settings, tmp_path / "backup")
    engine = open_engine(settings.database)
    sound, findings = check(engine, artifacts)
    assert (sound, [(f.kind, f.reference.owner) for f in findings]) == (1, [("missing", "adapter old")])
    assert SqlRegistry(engine).claim_pruning("old", "old", 1)
    assert check(engine, artifacts) == (1, [])
    engine.dispose()


def test_main_backup_onto_a_full_disk_ends_with_status_1_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _installation(tmp_path / "home")
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path / "home"))

    def copy2(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", copy2)
        assert main(["backup", str(tmp_path / "backup")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("OVERLOADED: ")
    assert told.count("\n") == 1
    assert "runs/r-1/rows.npz cannot be copied to" in told
    assert "free some space" in told
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert main(["backup", str(tmp_path / "home" / "orchestrator.db" / "x")]) == 1
    assert re.match(r"NOT_READY: .*home cannot be copied to .*orchestrator\.db/x: ", capsys.readouterr().err)
    assert main(["backup", str(tmp_path / "backup")]) == 0


def test_main_restore_onto_a_full_disk_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, _ = _installation(tmp_path / "home")
    back_up(settings, tmp_path / "backup")
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path / "other"))

    def copyfile(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    assert main(["restore", str(tmp_path / "backup")]) == 1
    assert capsys.readouterr().err.startswith("OVERLOADED: ")


def test_back_up_of_a_folder_that_is_named_by_a_uri_copies_it(tmp_path: Path) -> None:
    _, artifacts = _installation(tmp_path / "home")
    settings = OrchestratorSettings(home=tmp_path / "home", artifacts=artifacts.root_uri)
    back_up(settings, tmp_path / "backup")
    assert (tmp_path / "backup" / "artifacts" / "runs" / "r-1" / "rows.npz").read_bytes() == b"rows"


def test_back_up_into_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    settings, _ = _installation(tmp_path / "home")
    (tmp_path / "backup").mkdir()
    with pytest.raises(ConflictError, match="exists"):
        back_up(settings, tmp_path / "backup")


def test_back_up_without_a_database_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no database .*orchestrator\.db"):
        back_up(_settings(tmp_path / "empty"), tmp_path / "backup")


def test_back_up_of_postgresql_names_the_right_tool(tmp_path: Path) -> None:
    settings = OrchestratorSettings(home=tmp_path, database_url="postgresql+psycopg://u@h/d")
    with pytest.raises(PreconditionError, match="pg_dump"):
        back_up(settings, tmp_path / "backup")


def test_restore_over_a_database_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    settings, _ = _installation(tmp_path / "home")
    back_up(settings, tmp_path / "backup")
    before = (tmp_path / "home" / "orchestrator.db").read_bytes()
    with pytest.raises(ConflictError, match="move it away"):
        restore(settings, tmp_path / "backup")
    assert (tmp_path / "home" / "orchestrator.db").read_bytes() == before


def test_artifacts_that_are_a_volume_keep_its_own_folder_and_its_mode(tmp_path: Path) -> None:
    settings, _ = _installation(tmp_path / "home")
    (tmp_path / "home" / "artifacts" / "lost+found").mkdir()
    back_up(settings, tmp_path / "backup")
    assert [path.name for path in (tmp_path / "backup" / "artifacts").iterdir()] == ["runs"]
    volume = tmp_path / "other" / "artifacts"
    (volume / "lost+found").mkdir(parents=True)
    volume.chmod(0o2770)
    restore(_settings(tmp_path / "other"), tmp_path / "backup")
    assert (volume / "runs" / "r-1" / "rows.npz").read_bytes() == b"rows"
    assert volume.stat().st_mode & 0o7777 == 0o2770


def test_restore_of_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    settings, _ = _installation(tmp_path / "home")
    back_up(settings, tmp_path / "backup")
    with (tmp_path / "backup" / "orchestrator.db").open("ab") as file:
        file.write(b"x")
    with pytest.raises(PreconditionError, match="damaged"):
        restore(_settings(tmp_path / "other"), tmp_path / "backup")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("written", [b"", b"{", b"\xff"])
def test_restore_of_a_backup_whose_facts_are_damaged_is_refused(tmp_path: Path, written: bytes) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / FACTS).write_bytes(written)
    settings = _settings(tmp_path / "new")
    with pytest.raises(PreconditionError, match="damaged"):
        restore(settings, backup)
    assert not (tmp_path / "new").exists()


def test_restore_of_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no backup"):
        restore(_settings(tmp_path), tmp_path / "nothing")


def test_check_names_missing_and_damaged_artifacts_and_their_owners(tmp_path: Path) -> None:
    settings, artifacts = _installation(tmp_path / "home")
    engine = open_engine(settings.database)
    assert check(engine, artifacts) == (1, [])
    file = tmp_path / "home" / "artifacts" / "runs" / "r-1" / "rows.npz"
    file.chmod(0o644)
    file.write_bytes(b"other")
    sound, findings = check(engine, artifacts)
    assert (sound, [(f.kind, f.reference.owner) for f in findings]) == (0, [("damaged", "run r-1")])
    file.unlink()
    assert [f.kind for f in check(engine, artifacts)[1]] == ["missing"]
    engine.dispose()


def test_main_check_ends_with_status_1_if_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _installation(tmp_path / "home")
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path / "home"))
    assert main(["check"]) == 0
    (tmp_path / "home" / "artifacts" / "runs" / "r-1" / "rows.npz").unlink()
    assert main(["check"]) == 1
    assert "missing: run r-1" in capsys.readouterr().out


def test_main_upgrade_backup_and_restore_tell_what_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path / "home"))
    assert main(["upgrade"]) == 0
    assert re.fullmatch(r"the database is at revision \d{4}\n", capsys.readouterr().out)
    assert main(["backup", str(tmp_path / "backup")]) == 0
    facts = json.loads((tmp_path / "backup" / "backup.json").read_text())
    assert facts["files"]["orchestrator.db"] == sha256_bytes(
        (tmp_path / "backup" / "orchestrator.db").read_bytes()
    )
    assert main(["restore", str(tmp_path / "backup")]) == 1
    assert "CONFLICT" in capsys.readouterr().err
