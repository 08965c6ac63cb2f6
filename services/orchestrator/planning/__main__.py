"""``python -m services.orchestrator.planning``: a plan without an orchestrator.

Reads one JSON object from stdin: ``request`` (a ``PlanRequest`` whose ``study`` may be left out), ``shipped``
(the name of a shipped study, instead) and ``tasks`` (task files by name). Writes the plan to stdout and exits
with 0; or a problem, as the REST API would answer, and exits with 1.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.common.errors import InvalidInputError, PreconditionError, ValignError
from services.orchestrator.catalogue import load_shipped_study
from services.orchestrator.documents import document_error
from services.orchestrator.planning.document import Plan, PlanRequest
from services.orchestrator.planning.plan import make_plan
from services.orchestrator.planning.reading import resolved_study, task_size
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study

NOBODY_ASKED = (
    "No orchestrator was asked: what serves, its limits and past runs are not known, and no second embedder"
    " is counted."
)


def main() -> int:
    """Plan; returns the exit status."""
    asked = json.load(sys.stdin)
    try:
        plan = plan_alone(asked["request"], asked.get("shipped", ""), asked.get("tasks", {}))
    except ValignError as error:
        json.dump(
            {
                "title": "The plan cannot be made",
                "detail": error.message,
                "code": error.code,
                "errors": error.details.get("errors", []),
            },
            sys.stdout,
        )
        return 1
    sys.stdout.write(plan.model_dump_json())
    return 0


def plan_alone(request: Mapping[str, Any], shipped: str, tasks: Mapping[str, str]) -> Plan:
    """The plan, whose first assumption says that nobody was asked.

    Raises:
        InvalidInputError: the request or its study is wrong.
        NotFoundError: there is no such shipped study.
        PreconditionError: the study names what only an orchestrator has.
    """
    study = load_shipped_study(shipped).text if shipped else request.get("study", "")
    try:
        parsed = PlanRequest.model_validate({**request, "study": study})
    except ValidationError as error:
        raise document_error(error) from None
    resolved = resolved_study(parsed)
    plan = make_plan(parsed, resolved, _given(resolved.study, tasks))
    return plan.model_copy(update={"assumptions": (NOBODY_ASKED, *plan.assumptions)})


def _given(study: Study, tasks: Mapping[str, str]) -> Given:
    if study.ruler is not None:
        raise PreconditionError(
            f"the study measures by the ruler {study.ruler[:12]}…, which an orchestrator keeps; ask that one"
            " for the plan"
        )
    sizes = {}
    for task in study.guards.tasks:
        if task.name not in tasks:
            raise PreconditionError(
                f"the study names task {task.name!r} by its sha256 alone, and an orchestrator keeps its file;"
                " ask that one for the plan, or name the file"
            )
        try:
            sizes[task.name] = task_size(Path(tasks[task.name]).read_bytes())
        except OSError as error:
            raise InvalidInputError(
                f"task file {tasks[task.name]} cannot be read: {error.strerror}"
            ) from error
    return Given(tasks=sizes)


if __name__ == "__main__":
    sys.exit(main())
