"""What a plan needs of files that a study names by their sha256."""

from services.common.artifacts import ArtifactStore
from services.orchestrator.assets import read_asset
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study
from services.orchestrator.tasks import parse_task


def read_given(artifacts: ArtifactStore, study: Study, *, second_encoder: bool) -> Given:
    """The sizes of the study's ruler and tasks. NotFoundError for one that is not here."""
    ruler = load_ruler(artifacts, study.ruler)
    inputs: dict[str, int] | None = None
    if ruler is not None:
        inputs = {topic.id: 0 for topic in ruler.facts.topics}
        for item in ruler.facts.inputs:
            inputs[item.key[0]] += 1
    tasks: dict[str, tuple[int, int]] = {}
    for task in study.guards.tasks:
        items = parse_task(read_asset(artifacts, task.sha256))
        choices = [(item, choice) for item in items for choice in item.choices]
        tasks[task.name] = (len(choices), sum(len(item.context) + len(choice) for item, choice in choices))
    return Given(ruler_inputs=inputs, tasks=tasks, second_encoder=second_encoder)
