"""Notes: what a reader must know before the numbers."""

from dataclasses import replace

from services.orchestrator.analysis.contrasts import PRIMARY, contrast_by
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.analysis.instrument import Instrument
from services.orchestrator.analysis.notes import notes_on
from tests.evidence import make_evidence


def notes(evidence: Evidence) -> str:
    instrument = Instrument(evidence)
    return "\n".join(notes_on(instrument, contrast_by(instrument, *PRIMARY)))


def test_notes_say_what_is_primary_and_what_is_exploratory() -> None:
    found = notes(make_evidence(inputs=15))
    assert "The primary figure is the pooled contrast of tuned against base_p3" in found
    assert "exploratory" in found
    assert "2 training seeds" in found


def test_notes_without_common_inputs_say_that_there_is_no_primary_figure() -> None:
    evidence = make_evidence(inputs=15)
    fewer = replace(evidence, outputs=tuple(each for each in evidence.outputs if each.arm != "base_p3"))
    assert "There is no primary figure" in notes(fewer)


def test_notes_topic_without_test_inputs_is_named() -> None:
    evidence = make_evidence(inputs=15)
    test = {**evidence.split["test"], "topic-1": ()}
    assert "Topic topic-1 has no test input" in notes(
        replace(evidence, split={**evidence.split, "test": test})
    )


def test_notes_of_a_whole_run_name_no_gap() -> None:
    found = notes(make_evidence(inputs=15))
    assert "left out" not in found
    assert "subsample" not in found


def test_notes_controls_that_were_trained_once_are_named() -> None:
    assert "Trained once" in notes(make_evidence(inputs=15))
    assert "uniform, shuffled, other" in notes(make_evidence(inputs=15))
    assert "Trained once" not in notes(make_evidence(inputs=15, controls=()))
