"""Backup and restore of an installation that keeps its state in SQLite files and a local folder.

A backup may be taken while the service runs. The order makes it whole: what the workflows have recorded
lies in the database before, and what the database speaks of lies in the artifact store before. So the
workflows are copied first, then the database, then the artifacts.
"""

import json
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.artifacts import sha256_file
from services.common.errors import ConflictError, NotFoundError, PreconditionError
from services.orchestrator.settings import OrchestratorSettings

FACTS = "backup.json"
_WORKFLOWS, _DATABASE, _ARTIFACTS = "workflows.db", "orchestrator.db", "artifacts"
# A volume's own folder (ext4), which is root's and no part of the store.
_OF_THE_VOLUME = "lost+found"
# What is being written has no name yet that anything speaks of.
_NO_ARTIFACTS = shutil.ignore_patterns("*.part-*", _OF_THE_VOLUME)


def back_up(settings: OrchestratorSettings, folder: Path) -> dict[str, Any]:
    """Copy everything into a new folder; returns what ``backup.json`` says.

    Raises:
        PreconditionError: the state is not in SQLite files and a local folder.
        ConflictError: the folder exists.
        NotFoundError: there is nothing to copy.
    """
    workflows, database, artifacts = _sources(settings)
    if not database.is_file():
        raise NotFoundError(f"there is no database {database}; is VALIGN_ORCHESTRATOR_HOME the right folder?")
    if folder.exists():
        raise ConflictError(f"{folder} exists; name a folder that does not")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        if workflows.is_file():
            _copy_database(workflows, part / _WORKFLOWS)
        _copy_database(database, part / _DATABASE)
        if artifacts.is_dir():
            shutil.copytree(artifacts, part / _ARTIFACTS, symlinks=True, ignore=_NO_ARTIFACTS)
        facts = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": {path.name: sha256_file(path) for path in sorted(part.glob("*.db"))},
        }
        (part / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return facts


def restore(settings: OrchestratorSettings, folder: Path) -> dict[str, Any]:
    """Put a backup where the settings say; the service must not run.

    Raises:
        NotFoundError: no backup there.
        PreconditionError: the backup is damaged.
        ConflictError: there is a database already; move it away first, nothing is overwritten.
    """
    workflows, database, artifacts = _sources(settings)
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{folder} is no backup: it has no {FACTS}") from None
    for name, sha256 in facts["files"].items():
        if not (folder / name).is_file() or sha256_file(folder / name) != sha256:
            raise PreconditionError(f"{folder / name} is missing or damaged: the backup cannot be used")
    for target in (database, workflows, artifacts):
        if target.is_file() or (target.is_dir() and any(p.name != _OF_THE_VOLUME for p in target.iterdir())):
            raise ConflictError(f"{target} exists; move it away first: a restore overwrites nothing")
    for name, target in ((_WORKFLOWS, workflows), (_DATABASE, database)):
        if (folder / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
    if (folder / _ARTIFACTS).is_dir():
        _copy_into(folder / _ARTIFACTS, artifacts)
    return facts


def _copy_into(source: Path, target: Path) -> None:
    """The target's own times and mode stay: it may be a volume's root, and those are root's."""
    target.mkdir(parents=True, exist_ok=True)
    for one in source.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.copytree(one, target / one.name, symlinks=True)
        else:
            shutil.copy2(one, target / one.name, follow_symlinks=False)


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own online backup: a consistent copy, whoever writes meanwhile."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as one, sqlite3.connect(target) as other:
        one.backup(other)
    one.close()
    other.close()


def _sources(settings: OrchestratorSettings) -> tuple[Path, Path, Path]:
    urls = (settings.system_database, settings.database)
    if not all(url.startswith("sqlite:///") for url in urls) or "://" in settings.artifact_root:
        raise PreconditionError(
            "this copies SQLite files and a local folder; the state here is elsewhere. Use pg_dump for"
            " PostgreSQL (first) and your object store's own copy for the artifacts (after it)"
        )
    workflows, database = (Path(url.removeprefix("sqlite:///")) for url in urls)
    return workflows, database, Path(settings.artifact_root)
