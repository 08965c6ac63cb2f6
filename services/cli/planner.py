"""A plan without an orchestrator: its planner runs as a program of its own on this machine.

The command line imports no service, so that it stays light; the planner needs ``valign[orchestrator]``.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from services.cli.api import Json
from services.cli.errors import ApiError, CliError

_PLANNER = "services.orchestrator.planning"
_LONGEST_S = 120
_INVALID = 422


def plan_here(request: Mapping[str, object], shipped: str, tasks: Mapping[str, Path]) -> Json:
    """The plan of a request as the API takes it; ``shipped`` names a shipped study instead of its ``study``.

    ApiError: the request is wrong. CliError: the planner is not installed.
    """
    asked = {
        "request": dict(request),
        "shipped": shipped,
        "tasks": {name: str(file) for name, file in tasks.items()},
    }
    # -P: the folder that this is called in may be a stranger's, and no code of it may run.
    command = [sys.executable, "-P", "-m", _PLANNER]
    done = subprocess.run(  # noqa: S603 (a list, no shell)
        command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=_LONGEST_S
    )
    try:
        answer: Json = json.loads(done.stdout)
    except json.JSONDecodeError:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CliError(
            f"The plan cannot be made on this machine: {why}.",
            remedy="Install valign[orchestrator] here; or ask an orchestrator: set VALIGN_URL (or --url), or"
            " start one with `valign up`.",
        ) from None
    if done.returncode:
        raise ApiError(_INVALID, answer)
    return answer
