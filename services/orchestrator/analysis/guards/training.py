"""What can this sample carry? Training seeds, test inputs, and the width of the primary interval."""

from typing import Final

from services.orchestrator.analysis.guards.context import Material
from services.orchestrator.analysis.guards.intervals import measure, not_measured, status_of, worst
from services.orchestrator.analysis.results import Guard

ID: Final = "training"
TITLE: Final = "Size of the sample"
QUESTION: Final = (
    "Are there enough training seeds and test inputs to speak of this recipe, and not of one run?"
)


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    primary = material.context.primary
    if not material.tuned.texts or primary is None:
        return not_measured(ID, TITLE, QUESTION, "nothing was tuned")
    seeds, inputs = len(material.tuned_arms), primary.reduction.n or len(material.keys)
    least_seeds = float(material.gate["min_training_seeds"])
    least_inputs = float(material.gate["min_test_inputs"])
    ends = primary.reduction.low, primary.reduction.high
    width = None if ends[0] is None or ends[1] is None else (ends[1] - ends[0]) / 2
    measures = (
        measure("training_seeds", "training seeds", float(seeds), least_seeds, better="higher"),
        measure("test_inputs", "test inputs", float(inputs), least_inputs, better="higher"),
        measure("half_width", "half the width of the interval of the primary reduction", width),
    )
    few = worst(status_of(item) for item in measures) != "pass"
    summary = f"{seeds} training seed{'s' * (seeds != 1)} and {inputs} test inputs"
    if width is not None:
        summary += f"; the reduction is known to about {100 * width:.0f} points either way"
    return Guard(
        id=ID,
        title=TITLE,
        question=QUESTION,
        # Too small a sample shows nothing bad.
        status="warn" if few else "pass",
        summary=f"{summary}.",
        measures=measures,
    )
