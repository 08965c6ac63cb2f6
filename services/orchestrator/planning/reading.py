"""What a plan needs of its request's study, and of files that the study names by their sha256."""

import json

from services.common.artifacts import ArtifactStore
from services.orchestrator.assets import read_asset
from services.orchestrator.documents import parse_document
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.planning.document import PlanRequest
from services.orchestrator.planning.work import Given
from services.orchestrator.study import ResolvedStudy, Study, resolve
from services.orchestrator.tasks import parse_task


def resolved_study(request: PlanRequest) -> ResolvedStudy:
    """The request's study with its defaults and sets. InvalidInputError: it is not valid."""
    # Text keeps its lines, so that an error can point into it.
    study = request.study if isinstance(request.study, str) else json.dumps(request.study)
    return resolve(parse_document(study, Study))


def read_given(artifacts: ArtifactStore, study: Study, *, second_encoder: bool) -> Given:
    """The sizes of the study's ruler and tasks. NotFoundError for one that is not here."""
    ruler = load_ruler(artifacts, study.ruler)
    inputs: dict[str, int] | None = None
    if ruler is not None:
        inputs = {topic.id: 0 for topic in ruler.facts.topics}
        for item in ruler.facts.inputs:
            inputs[item.key[0]] += 1
    tasks = {task.name: task_size(read_asset(artifacts, task.sha256)) for task in study.guards.tasks}
    return Given(ruler_inputs=inputs, tasks=tasks, second_encoder=second_encoder)


def task_size(data: bytes) -> tuple[int, int]:
    """A task file's choices, and the characters of them, each with its context. InvalidInputError."""
    items = parse_task(data)
    choices = [(item, choice) for item in items for choice in item.choices]
    return len(choices), sum(len(item.context) + len(choice) for item, choice in choices)
