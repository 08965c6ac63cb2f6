"""Care of an installation, from its own settings: ``VALIGN_ORCHESTRATOR_*`` say where everything lies."""

import argparse
import sys
from pathlib import Path

import sqlalchemy as sa

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.common.settings import load_settings
from services.orchestrator.maintenance.backup import back_up, restore
from services.orchestrator.maintenance.references import check
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store import migrate
from services.orchestrator.store.engine import open_engine


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.orchestrator.maintenance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the database to this version's schema")
    commands.add_parser(
        "check", help="read every artifact that the database speaks of; status 1 if one is missing or damaged"
    )
    for name, text in (
        ("backup", "copy SQLite files and artifacts into a new folder; the service may run"),
        ("restore", "put a backup back; the service must not run, and nothing is overwritten"),
    ):
        commands.add_parser(name, help=text).add_argument("folder", type=Path)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 1 with one line on stderr."""
    asked = _parser().parse_args(arguments)
    settings = load_settings(OrchestratorSettings)
    try:
        match asked.command:
            case "upgrade":
                return _upgrade(settings)
            case "check":
                return _check(settings)
            case "backup":
                facts = back_up(settings, asked.folder)
                print(f"backed up to {asked.folder}: {', '.join(facts['files'])} and the artifacts")
            case _:
                facts = restore(settings, asked.folder)
                print(f"restored the backup of {facts['time']}; run `check`, then start the service")
    except ValignError as error:
        print(f"{error.code.value}: {error.message}", file=sys.stderr)
        return 1
    return 0


def _upgrade(settings: OrchestratorSettings) -> int:
    engine = open_engine(settings.database)
    try:
        migrate.upgrade(engine)
        with engine.connect() as connection:
            revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
    finally:
        engine.dispose()
    print(f"the database is at revision {revision}")
    return 0


def _check(settings: OrchestratorSettings) -> int:
    engine = open_engine(settings.database)
    try:
        sound, findings = check(engine, ArtifactStore(settings.artifact_root))
    finally:
        engine.dispose()
    for finding in findings:
        print(f"{finding.kind}: {finding.reference.owner}: {finding.reason}")
    print(f"{sound} artifacts sound, {len(findings)} missing or damaged")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
