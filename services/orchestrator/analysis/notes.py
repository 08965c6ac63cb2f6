"""How to read an analysis: what is primary, what was left out, what an interval does not carry."""

from services.orchestrator.analysis.arms import TITLES
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.instrument import Instrument
from services.orchestrator.analysis.results import Contrast

_CONTROLS = (ArmKind.UNIFORM, ArmKind.SHUFFLED, ArmKind.OTHER)


def notes_on(instrument: Instrument, primary: Contrast | None) -> tuple[str, ...]:
    """Sentences, the most important first."""
    return (*_reading(instrument, primary), *_seeds(instrument), *_gaps(instrument), *_subsamples(instrument))


def _reading(instrument: Instrument, primary: Contrast | None) -> list[str]:
    exploratory = (
        "Figures by topic, secondary contrasts and the matrix are exploratory; p-values by topic are "
        "adjusted over the topics of one contrast (Holm), not over contrasts."
    )
    if primary is not None:
        return [
            "The primary figure is the pooled contrast of tuned against base_p3 on the test inputs; "
            "that was fixed before any number was seen.",
            exploratory,
        ]
    if instrument.evidence.of_kind(ArmKind.TUNED):
        return [
            "There is no primary figure: tuned and base_p3 have no measured test input in common.",
            exploratory,
        ]
    return ["This run only measured: there is no tuned model, no primary figure and no verdict.", exploratory]


def _seeds(instrument: Instrument) -> list[str]:
    tuned = instrument.measure(ArmKind.TUNED)
    if tuned is None:
        return []
    if tuned.training_seeds == 1:
        found = [
            "The model was trained from a single seed: no interval carries the randomness of training. "
            "Set arms.training_seeds to 2 or more."
        ]
    else:
        found = [
            f"Intervals of tuned carry {tuned.training_seeds} training seeds and the test inputs; "
            "p-values take these trainings as given."
        ]
    controls = (instrument.measure(kind) for kind in _CONTROLS)
    once = [each.kind.value for each in controls if each is not None and each.training_seeds == 1]
    if once:
        found.append(f"Trained once, so that intervals carry nothing of its training: {', '.join(once)}.")
    return found


def _gaps(instrument: Instrument) -> list[str]:
    found = []
    for kind in TITLES:
        measured = instrument.measure(kind)
        if measured is not None and measured.missing and kind is not ArmKind.ALIGNED:
            found.append(
                f"{kind.value} has no usable text or reference for {measured.missing} of "
                f"{len(instrument.test)} test inputs: they are left out of its figures and contrasts."
            )
    for topic in instrument.evidence.topic_ids:
        inputs = sum(1 for name, _ in instrument.test if name == topic)
        if inputs == 0:
            found.append(f"Topic {topic} has no test input: it is left out.")
        elif inputs == 1:
            found.append(
                f"Topic {topic} has one test input: it has no interval, and the pooled ones judge its chance "
                "by other topics of one input, or leave it out if there is none; floor, shuffled and "
                "specificity need other inputs (of any topic, if no topic has two)."
            )
    if instrument.ceiling is None:
        found.append(
            "No second draw of the reference texts: there is no ceiling and no scaled value. "
            "Set measurement.reference_samples to 2 or more."
        )
    return found


def _subsamples(instrument: Instrument) -> list[str]:
    most = instrument.evidence.study["measurement"]["max_distribution_texts"]
    sizes = {kind: measured.outputs for kind in TITLES if (measured := instrument.measure(kind)) is not None}
    references = sum(len(texts) for arm in instrument.texts(ArmKind.ALIGNED) for texts in arm.values())
    large = [kind.value for kind, size in sizes.items() if max(size, references) > most]
    if not large:
        return []
    return [
        f"Energy distances use at most {most} texts a side, a subsample under the run's seed: "
        f"{', '.join(large)}."
    ]
