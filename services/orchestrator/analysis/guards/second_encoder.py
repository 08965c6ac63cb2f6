"""Does an encoder of another family see the same?"""

from typing import Final

import numpy as np

from services.orchestrator.analysis.contrasts import contrast
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.guards.context import Drawn, Floats, Material
from services.orchestrator.analysis.guards.intervals import measure, not_measured, percent, status_of
from services.orchestrator.analysis.results import Guard

ID: Final = "second_encoder"
TITLE: Final = "Second encoder"
QUESTION: Final = "Does an encoder that played no part in the training see the value difference fall too?"


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    if "second" not in material.evidence.vectors:
        why = material.why_not_run("second_encoder", "no second encoder was served")
        return not_measured(ID, TITLE, QUESTION, why)
    second = contrast(material.evidence, ArmKind.TUNED, ArmKind.BASE_P3, vectors="second")
    primary = material.context.primary
    if second is None or primary is None:
        return not_measured(ID, TITLE, QUESTION, "there is no tuned or no base arm on test inputs")
    name = material.evidence.vectors["second"].encoder
    agree = (second.reduction.value > 0) == (primary.reduction.value > 0)
    main = measure(
        "reduction",
        "reduction by the second encoder",
        second.reduction,
        0.0,
        better="higher",
        note=f"encoder {name}",
    )
    measures = (
        main,
        measure("same_sign", "both encoders see the same sign (1) or not (0)", float(agree)),
        measure(
            "rank_correlation",
            "Spearman correlation of the inputs' improvements under both encoders",
            _correlation(material),
        ),
    )
    summary = (
        f"The reduction is {percent(second.reduction.value)} by {name}, "
        f"{percent(primary.reduction.value)} by the first encoder"
        + ("" if agree else ": they do not agree on the sign")
        + "."
    )
    status = status_of(main, strict=True)
    return Guard(id=ID, title=TITLE, question=QUESTION, status=status, summary=summary, measures=measures)


def _correlation(material: Material) -> float | None:
    from scipy.stats import spearmanr

    moved = [_improvement(material, encoder) for encoder in ("primary", "second")]
    held = ~np.isnan(moved[0]) & ~np.isnan(moved[1])
    if held.sum() < 3 or any(np.ptp(values[held]) == 0 for values in moved):
        return None
    return float(spearmanr(moved[0][held], moved[1][held]).statistic)


def _improvement(material: Material, encoder: str) -> Floats:
    """Base - tuned value difference of each test input, NaN where one has no text."""
    targets = material.unit(material.targets, encoder)

    def by_input(drawn: Drawn) -> Floats:
        rows = material.unit(drawn.texts, encoder)
        table = drawn.matrix(1 - np.einsum("ij,ij->i", rows, targets[drawn.inputs]).astype(np.float64))
        held = ~np.all(np.isnan(table), axis=1)
        means = np.full(len(table), np.nan)
        means[held] = np.nanmean(table[held], axis=1)
        return means

    return by_input(material.base) - by_input(material.tuned)
