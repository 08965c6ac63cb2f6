"""Guards: what is watched beside the value difference. Each answers one question with numbers."""

from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.analysis.guards import (
    copying,
    diversity,
    leakage,
    polarity,
    reference_validity,
    second_encoder,
    subject,
    tasks,
    training,
    utility,
)
from services.orchestrator.analysis.guards.context import GuardContext, Material
from services.orchestrator.analysis.results import Guard

__all__ = ["GuardContext", "evaluate"]


def evaluate(evidence: Evidence, context: GuardContext) -> tuple[Guard, ...]:
    """All guards, in the order of the report. Deterministic under the study's seed.

    A guard for which evidence is missing says so ("not_measured"). KeyError for a text without a vector.
    """
    material = Material(evidence, context)
    return (
        reference_validity.evaluate(material),
        diversity.evaluate(material),
        subject.evaluate(material),
        copying.evaluate(material),
        leakage.evaluate(material),
        second_encoder.evaluate(material),
        polarity.evaluate(material),
        utility.evaluate(material),
        tasks.evaluate(material),
        training.evaluate(material),
    )
