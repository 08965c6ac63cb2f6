"""Is the drop more than a change of register? Marker words counted, and masked."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from services.orchestrator.analysis.contrasts import contrast
from services.orchestrator.analysis.derived import direction_keys
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.guards.context import Drawn, Floats, Material, Rows
from services.orchestrator.analysis.guards.intervals import (
    TRAINED,
    mean_of,
    measure,
    not_measured,
    percent,
    pooled,
    ratio_of,
    status_of,
    worst,
)
from services.orchestrator.analysis.markers import markers_of
from services.orchestrator.analysis.results import Contrast, Guard, GuardStatus, Measure
from services.orchestrator.analysis.text import count_markers, mask

ID: Final = "leakage"
TITLE: Final = "Leakage of marker words"
LEAST_MOVE: Final = 0.25
QUESTION: Final = "Does the value difference still fall when the reference set's marker words are masked?"


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    if not material.tuned.texts or not material.base.texts:
        return not_measured(ID, TITLE, QUESTION, "there is no tuned or no base arm on test inputs")
    markers = markers_of(material.evidence)
    if not markers.words:
        return not_measured(ID, TITLE, QUESTION, "no marker words are known or were found for this set")
    arms = {"tuned": material.tuned, "references": material.references, "base": material.base}
    rates = {name: _rate(drawn, markers.words) for name, drawn in arms.items()}
    note = f"{markers.source}: {', '.join(markers.words)}"
    found: list[Measure] = []
    for name, rate in rates.items():
        estimate = pooled(material, rate, TRAINED if name == "tuned" else "")
        found.append(measure(f"rate_{name}", f"texts with a marker word, {name}", estimate, note=note))
    excess = pooled(material, rates["tuned"] - rates["references"], TRAINED)
    threshold = float(material.gate["max_marker_excess"])
    title = "texts with a marker word, tuned - references"
    found.append(measure("rate_excess", title, excess, threshold, better="lower"))
    masked = contrast(
        material.evidence, ArmKind.TUNED, ArmKind.BASE_P3, transform=partial(mask, markers=markers.words)
    )
    known = not markers.learnt
    statuses, text = _masked(material, masked, found, known)
    moved, said = _content(material, (*markers.words, *markers.base_words), found, known)
    if markers.learnt:
        # Words that were read off the texts can be the values themselves: not enough to reject.
        statuses = ["warn" if status == "fail" else status for status in statuses]
    status = worst([*statuses, moved, status_of(found[3])])
    value = {item.name: item.value or 0.0 for item in found}
    summary = (
        f"{percent(value['rate_tuned'])} of tuned texts have a marker word (references "
        f"{percent(value['rate_references'])}, base {percent(value['rate_base'])}); {text}; {said}."
    )
    return Guard(id=ID, title=TITLE, question=QUESTION, status=status, summary=summary, measures=tuple(found))


def _rate(drawn: Drawn, markers: tuple[str, ...]) -> Floats:
    marked = {text: count_markers(text, markers) > 0 for text in set(drawn.texts)}
    return drawn.matrix(np.array([marked[text] for text in drawn.texts], dtype=np.float64))


def _masked(
    material: Material, masked: Contrast | None, found: list[Measure], known: bool
) -> tuple[list[GuardStatus], str]:
    """Adds the masked figure. It must lie above 0 and, if the markers are ``known``, hold a share of the
    unmasked one."""
    primary = material.context.primary
    if masked is None or primary is None:
        return ["warn"], "the masked figure could not be computed"
    share = float(material.gate["min_masked_share"])
    above = measure(
        "masked_reduction", "reduction with markers masked", masked.reduction, 0.0, better="higher"
    )
    least = share * max(primary.reduction.value, 0.0)
    title = f"reduction with markers masked, against {percent(share)} of the unmasked one"
    kept = measure("masked_share", title, masked.reduction, least if known else None, better="higher")
    found += [above, kept]
    text = (
        f"with the markers masked the reduction is {percent(masked.reduction.value)} instead of "
        f"{percent(primary.reduction.value)}"
    )
    return [status_of(above, strict=True), status_of(kept)], text


def _content(
    material: Material, words: tuple[str, ...], found: list[Measure], known: bool
) -> tuple[GuardStatus, str]:
    """How far the tuned texts move from their originals in the references' direction, registers masked.

    The direction is that of other inputs; 0 is where the original stands, 1 as far as the references go. It
    is only told if the markers are not ``known``: the masked words can then be all that the values are.
    """
    keys = direction_keys(material.evidence)
    if not keys:
        return "warn", "no input outside the test part shows the references' direction"

    def unit(texts: Sequence[str]) -> Rows:
        return material.unit([mask(text, words) for text in texts])

    ahead = unit([material.all_targets[key] for key in keys])
    direction = (ahead - unit([material.all_originals[key] for key in keys])).mean(axis=0, dtype=np.float64)
    originals = unit(material.originals)
    moves = {
        name: drawn.matrix((unit(drawn.texts) - originals[drawn.inputs]).astype(np.float64) @ direction)
        for name, drawn in (("tuned", material.tuned), ("references", material.references))
    }
    share = float(material.gate["min_masked_share"]) if known else None
    title = "move from the original in the references' direction, both registers masked, tuned / references"
    note = f"{len(keys)} inputs outside the test part give the direction; masked too: {', '.join(words)}"
    if mean_of(material, moves["references"]) < LEAST_MOVE * float(direction @ direction):
        found.append(measure("content_move", title, None, share, better="higher", note=note))
        said = "with both registers masked the references themselves do not differ from the originals"
        return "warn" if known else "pass", said
    ratio = ratio_of(material, moves["tuned"], moves["references"])
    item = measure("content_move", title, ratio, share, better="higher", note=note)
    found.append(item)
    return status_of(item), f"with both masked they move {percent(ratio.value)} as far as the references"
