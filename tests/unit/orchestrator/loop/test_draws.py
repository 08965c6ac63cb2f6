"""Which draw a slot keeps: from stored completions alone."""

import random
from types import SimpleNamespace
from typing import Any, cast

from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import Slot, settle
from services.orchestrator.ports import CompletionRecord
from services.orchestrator.study_sections import GenerationSettings

PROMPT = Prompt((Message("user", "P1"),))


def context(**settings: Any) -> RunContext:
    study = SimpleNamespace(generation=GenerationSettings(**settings))
    return cast(RunContext, SimpleNamespace(study=study))


def record(index: int, draw: int, text: str = "", outcome: str = "ok") -> CompletionRecord:
    return CompletionRecord("original", "t", index, draw, text, text, outcome, "stop", 1, "", "")


def slots(count: int) -> dict[tuple[str, int, int], Slot]:
    return {("t", index, 0): Slot("t", index, PROMPT) for index in range(count)}


LONG = "Systems must explain every decision to the people whom it concerns"


def test_settle_nothing_stored_everything_open() -> None:
    state = settle(context(), [], slots(2), True)
    assert state.open == {("t", 0, 0), ("t", 1, 0)}
    assert state.counts.usable == 0


def test_settle_refused_draw_leaves_slot_open_until_last_draw() -> None:
    refused = [record(0, draw, outcome="refusal") for draw in range(2)]
    assert settle(context(max_draws=3), refused, slots(1), True).open == {("t", 0, 0)}
    state = settle(context(max_draws=2), refused, slots(1), True)
    assert not state.open
    assert state.counts.as_json() == {
        "requested": 1,
        "usable": 0,
        "redrawn": 1,
        "failed_by_reason": {"refusal": 2},
        "near_duplicate_rate": None,
    }


def test_settle_near_duplicate_goes_to_the_lower_index_whatever_the_order() -> None:
    records = [
        record(0, 0, LONG + "."),
        record(1, 0, LONG + "!"),
        record(1, 1, "Data is kept for a short time only."),
    ]
    for _ in range(5):
        random.shuffle(records)
        state = settle(context(), records, slots(2), True)
        assert state.draws == {("t", 0, 0): 0, ("t", 1, 0): 1}
        assert state.counts.failed_by_reason == {"near_duplicate": 1}
        assert state.counts.near_duplicate_rate == 0.0


def test_settle_only_near_duplicates_keeps_the_last_and_counts_the_rate() -> None:
    records = [record(0, 0, LONG), record(1, 0, LONG), record(1, 1, LONG + "!")]
    state = settle(context(max_draws=2), records, slots(2), True)
    assert state.draws[("t", 1, 0)] == 1
    assert state.counts.near_duplicate_rate == 0.5


def test_settle_duplicates_keep_no_redraw_but_counted() -> None:
    records = [record(0, 0, LONG), record(1, 0, LONG)]
    state = settle(context(duplicates="keep"), records, slots(2), True)
    assert not state.open
    assert state.counts.near_duplicate_rate == 0.5


def test_settle_other_arms_are_not_compared() -> None:
    records = [record(0, 0, LONG), record(1, 0, LONG)]
    state = settle(context(), records, slots(2), False)
    assert not state.open
    assert state.counts.near_duplicate_rate is None


def test_settle_samples_have_draws_of_their_own() -> None:
    wanted = {("t", 0, sample): Slot("t", 0, PROMPT, sample=sample) for sample in range(3)}
    records = [
        record(0, 0, outcome="refusal"),
        record(0, 1, "Second draw of the first sample."),
        record(0, 4, "Second draw of the second sample."),
    ]
    state = settle(context(max_draws=3), records, wanted, False)
    assert state.open == {("t", 0, 2)}
    assert state.samples[("t", 0, 1)] == "Second draw of the second sample."
    assert state.principles == {("t", 0): "Second draw of the first sample."}
    assert state.draws == {("t", 0, 0): 1, ("t", 0, 1): 4}
