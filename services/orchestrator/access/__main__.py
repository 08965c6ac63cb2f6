"""API keys straight in the database, for the first one and for when all are lost.

``python -m services.orchestrator.access create --name operator --scopes admin``. Whoever can write the
database is the operator: the audit log names it ``operator``.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from services.common.errors import ValignError
from services.common.settings import load_settings
from services.orchestrator.access.keys import ApiKey, ApiKeys
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore

OPERATOR = Principal("operator", frozenset(Scope))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 refused, 2 wrong usage or settings."""
    given = _parser().parse_args(arguments)
    settings = load_settings(OrchestratorSettings, host="127.0.0.1")
    store = SqlRunStore(settings.database)
    try:
        store.migrate()
        with acting_as(OPERATOR):
            asyncio.run(_run(given, ApiKeys(store.api_keys)))
    except ValignError as error:
        print(f"refused: {error.message}", file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0


async def _run(given: argparse.Namespace, keys: ApiKeys) -> None:
    match given.command:
        case "create":
            scopes = [scope for scope in given.scopes.split(",") if scope]
            key, token = await keys.create(
                given.name, scopes, int(given.days * 86_400), create_by=OPERATOR.name
            )
            print(f"{_line(key)}\nThe key is shown this once:", file=sys.stderr)
            # Alone on stdout, so that a script can keep it.
            print(token)
        case "list":
            for key in await keys.list():
                print(_line(key))
        case _:
            print(_line(await keys.revoke(given.key_id)))


def _line(key: ApiKey) -> str:
    state = f"expires {key.expire_time:%Y-%m-%d %H:%M}Z" if key.expire_time else "does not expire"
    if key.revoke_time is not None:
        state = f"revoked {key.revoke_time:%Y-%m-%d %H:%M}Z"
    return f"{key.key_id}  {key.name}  {','.join(sorted(key.scopes))}  by {key.create_by}  {state}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.orchestrator.access",
        description="API keys straight in the orchestrator's database, which VALIGN_ORCHESTRATOR_* names.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="Make a key; it is printed once, on stdout.")
    create.add_argument("--name", required=True, help="A label.")
    create.add_argument(
        "--scopes", required=True, help=f"Of {', '.join(scope.value for scope in Scope)}, with commas."
    )
    create.add_argument("--days", type=float, default=90, help="Days until it ends (90).")
    commands.add_parser("list", help="Show the keys, without their secrets.")
    revoke = commands.add_parser("revoke", help="End a key at once.")
    revoke.add_argument("key_id", help="Its id, as `list` shows it.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
