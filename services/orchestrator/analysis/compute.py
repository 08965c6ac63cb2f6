"""All of the analysis: arms, scale, contrasts, matrix, guards and verdict of a run's evidence.

Deterministic under the study's seed, and independent of the order of the outputs.
"""

from services.orchestrator.analysis import arms as arms_of
from services.orchestrator.analysis import gate, guards
from services.orchestrator.analysis.cheap import cheap_arms
from services.orchestrator.analysis.contrasts import PRIMARY, SECONDARY, contrast_by
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.guards.context import GuardContext
from services.orchestrator.analysis.instrument import Instrument
from services.orchestrator.analysis.notes import notes_on
from services.orchestrator.analysis.results import Analysis


def analyse(evidence: Evidence) -> Analysis:
    """Every number of the report's analysis.

    Errors: ValueError if there are fewer than two test inputs with an original and a reference text (nothing
    can be measured), or an embedding without a direction; KeyError names a text that was not embedded.
    """
    settings = evidence.study["measurement"]
    cheap = cheap_arms(evidence)
    instrument = Instrument(evidence, cheap=cheap)
    scale = arms_of.scale(instrument)
    if scale is None:
        raise ValueError(
            "fewer than two test inputs have an original and a reference text: nothing can be measured; "
            "give the study more principles per topic"
        )
    arms = arms_of.arm_results(instrument)
    primary = contrast_by(instrument, *PRIMARY)
    contrasts = tuple(found for pair in SECONDARY if (found := contrast_by(instrument, *pair)) is not None)
    matrix = arms_of.matrix(instrument)
    context = GuardContext(arms=arms, scale=scale, primary=primary, cheap=cheap)
    outcomes = guards.evaluate(evidence, context)
    verdict = None
    if evidence.of_kind(ArmKind.TUNED):
        verdict = gate.decide(
            evidence.study["gate"], primary, contrasts, arms, scale, outcomes, matrix, evidence
        )
    return Analysis(
        level=settings["confidence"],
        seed=evidence.study["seed"],
        resamples=settings["resamples"],
        permutations=settings["permutations"],
        primary=primary,
        scale=scale,
        arms=arms,
        contrasts=contrasts,
        guards=outcomes,
        matrix=matrix,
        verdict=verdict,
        uncontrolled=tuple(evidence.facts.get("uncontrolled", ())),
        not_run=dict(evidence.facts.get("not_run", {})),
        notes=notes_on(instrument, primary),
    )
