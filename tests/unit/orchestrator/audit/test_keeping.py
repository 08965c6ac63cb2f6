"""The audit's own reading of which draws are kept, held against the loop's."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.audit.keeping import keep
from services.orchestrator.audit.prompts import FROM_RULER
from services.orchestrator.audit.record import Completion
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.loop.draws import Slot, settle
from services.orchestrator.ports import CompletionRecord

GENERATION = {"max_draws": 3, "near_duplicate_similarity": 0.9, "duplicates": "redraw"}
PROMPT = Prompt((Message("user", "P1"),))
_TEXTS = st.sampled_from(
    [
        "Systems must explain every decision to the people whom it concerns.",
        "Systems must explain each decision to the people whom it concerns.",
        "Personal data must be erased when its purpose has been fulfilled.",
        "Nobody may be judged by a machine alone.",
    ]
)


@st.composite
def _records(draw: Any) -> list[CompletionRecord]:
    records = []
    for index in range(draw(st.integers(1, 4))):
        for sample in range(draw(st.integers(1, 2))):
            for number in range(draw(st.integers(1, 3))):
                outcome = draw(st.sampled_from(["ok", "ok", "refusal", "empty"]))
                text = draw(_TEXTS) if outcome == "ok" else ""
                place = ("arm", f"t{index % 2}", index, sample * 3 + number)
                records.append(CompletionRecord(*place, text, text, outcome, "stop", 1, "", ""))
    return records


@given(_records(), st.booleans(), st.sampled_from(["redraw", "keep"]))
@settings(max_examples=150, deadline=None)
def test_keep_any_draws_agrees_with_the_loop(
    records: list[CompletionRecord], original: bool, duplicates: str
) -> None:
    generation = {**GENERATION, "duplicates": duplicates}
    ctx: Any = SimpleNamespace(study=SimpleNamespace(generation=SimpleNamespace(**generation)))
    places = {(record.topic_id, record.index, record.draw // 3) for record in records}
    wanted = {place: Slot(place[0], place[1], PROMPT, (), place[2]) for place in places}
    state = settle(ctx, records, wanted, original)
    found = keep(
        "original" if original else "aligned", [Completion(**asdict(r)) for r in records], generation
    )
    settled = {place: text for place, text in found.texts().items() if place not in state.open}
    assert settled == dict(state.samples)
    if not state.open:
        counts = found.counts()
        assert counts.pop("copied_original") is None
        assert counts == {
            **state.counts.as_json(),
            "near_duplicate_rate": pytest.approx(state.counts.near_duplicate_rate)
            if state.counts.near_duplicate_rate is not None
            else None,
        }


def test_keep_texts_of_a_ruler_may_repeat_each_other() -> None:
    text = "Systems must explain every decision to the people whom it concerns."
    rows = [
        Completion("original", "t", index, 0, text, text, "ok", FROM_RULER, 0, "", "") for index in range(2)
    ]
    kept = keep("original", rows, GENERATION)
    assert kept.sample(0) == {("t", 0): text, ("t", 1): text}
    assert kept.near_duplicate_rate() is None


def test_counts_of_some_places_leave_out_the_others() -> None:
    rows = [
        Completion("base_p3", "t", 0, 0, "", "", "empty", "stop", 0, "", ""),
        Completion("base_p3", "t", 0, 1, "A.", "A.", "ok", "stop", 1, "", ""),
        Completion("base_p3", "t", 1, 0, "B.", "B.", "ok", "stop", 1, "", ""),
    ]
    counts = keep("base_p3", rows, GENERATION).counts({("t", 0, 0)})
    assert (counts["requested"], counts["usable"], counts["redrawn"]) == (1, 1, 1)
    assert counts["failed_by_reason"] == {"empty": 1}
