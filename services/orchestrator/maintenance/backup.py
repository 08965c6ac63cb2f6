"""Backup and restore of an installation that keeps its state in SQLite files and a local folder.

A backup may be taken while the service runs. The order makes it whole: what the workflows have recorded
lies in the database before, and what the database speaks of lies in the artifact store before. So the
workflows are copied first, then the database, then the artifacts. An artifact that is deleted meanwhile is
not in the backup, and the database may still speak of it (see ``copying``): ``check`` tells.
"""

import json
import shutil
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from services.common.artifact_root import local_folder
from services.common.artifacts import sha256_file
from services.common.errors import ConflictError, NotFoundError, PreconditionError
from services.orchestrator.maintenance.copying import copy_database, copy_inside, telling
from services.orchestrator.settings import OrchestratorSettings

FACTS = "backup.json"
_WORKFLOWS, _DATABASE, _ARTIFACTS = "workflows.db", "orchestrator.db", "artifacts"
# A volume's own folder (ext4), which is root's and no part of the store.
_OF_THE_VOLUME = "lost+found"
# What is being written has no name yet that anything speaks of.
_BEING_WRITTEN = "*.part-*"


def back_up(settings: OrchestratorSettings, folder: Path) -> dict[str, Any]:
    """Copy everything into a new folder; returns what ``backup.json`` says.

    Raises:
        PreconditionError: the state is not in SQLite files and a local folder.
        ConflictError: the folder exists.
        NotFoundError: there is nothing to copy.
        OverloadedError, PreconditionError, NotReadyError: the disk says no; see ``telling``. The folder is
            there once all is in it: what failed has left none, and what was killed a hidden one at most.
    """
    workflows, database, artifacts = _sources(settings)
    with telling(database.parent, folder):
        if not database.is_file():
            raise NotFoundError(
                f"there is no database {database}; is VALIGN_ORCHESTRATOR_HOME the right folder?"
            )
        if folder.exists():
            raise ConflictError(f"{folder} exists; name a folder that does not")
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            if workflows.is_file():
                copy_database(workflows, part / _WORKFLOWS)
            copy_database(database, part / _DATABASE)
            if artifacts.is_dir():
                copy_inside(artifacts, part / _ARTIFACTS, may_go=True, left_out=_is_no_artifact)
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
        OverloadedError, NotReadyError: the disk says no, as PreconditionError may; see ``telling``.
    """
    workflows, database, artifacts = _sources(settings)
    with telling(folder, database.parent):
        try:
            facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFoundError(f"{folder} is no backup: it has no {FACTS}") from None
        except ValueError:
            raise PreconditionError(f"{folder / FACTS} is damaged: the backup cannot be used") from None
        for name, sha256 in facts["files"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != sha256:
                raise PreconditionError(f"{folder / name} is missing or damaged: the backup cannot be used")
        for target in (database, workflows, artifacts):
            if target.is_file() or (
                target.is_dir() and any(p.name != _OF_THE_VOLUME for p in target.iterdir())
            ):
                raise ConflictError(f"{target} exists; move it away first: a restore overwrites nothing")
        for name, target in ((_WORKFLOWS, workflows), (_DATABASE, database)):
            if (folder / name).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target)
        if (folder / _ARTIFACTS).is_dir():
            copy_inside(folder / _ARTIFACTS, artifacts)
    return facts


def _is_no_artifact(name: str) -> bool:
    return name == _OF_THE_VOLUME or fnmatch(name, _BEING_WRITTEN)


def _sources(settings: OrchestratorSettings) -> tuple[Path, Path, Path]:
    urls = (settings.system_database, settings.database)
    folder = local_folder(settings.artifact_root)
    if not all(url.startswith("sqlite:///") for url in urls) or folder is None:
        raise PreconditionError(
            "this copies SQLite files and a local folder; the state here is elsewhere. Use pg_dump for"
            " PostgreSQL (first) and your object store's own copy for the artifacts (after it)"
        )
    workflows, database = (Path(url.removeprefix("sqlite:///")) for url in urls)
    return workflows, database, folder
