"""What the campaign counts and compares: it must see what must not be."""

from typing import Any

from tests.chaos.campaign.comparing import differences, result_from
from tests.chaos.campaign.payments import Account, Snapshot, account
from tests.chaos.campaign.plan import Plan
from tests.chaos.campaign.table import Kill, Outcome, RunOutcome

ROW = {
    "arm": "realigned-i1",
    "topic_id": "privacy",
    "item_index": 0,
    "draw": 0,
    "text": "Be fair.",
    "principle": "Be fair.",
    "outcome": "ok",
    "adapter": "r-1-i1-00000000",
}


def test_account_stored_completion_made_again_is_told() -> None:
    snapshot = Snapshot(5, frozenset({"a"}))
    found = account([(1, "a"), (2, "b"), (6, "a"), (7, "b")], [snapshot])
    assert found == Account(paid=4, again=2, most_after_one_kill=1, stored_before=("a",))


def test_differences_only_ids_and_times_differ_finds_none() -> None:
    first = result_from([ROW], {"run_id": "r-1", "created_at": "x", "mean": 0.5}, {}, "r-1")
    row = {**ROW, "adapter": "r-2-i1-11111111"}
    second = result_from([row], {"run_id": "r-2", "created_at": "y", "mean": 0.5}, {}, "r-2")
    assert differences(first, second) == []


def test_differences_text_number_and_missing_row_are_told() -> None:
    first = result_from([ROW, {**ROW, "draw": 1}], {"topics": [{"mean": 0.5}]}, {"RUN-i1": "a"}, "r-1")
    second = result_from([{**ROW, "text": "Be kind."}], {"topics": [{"mean": 0.6}]}, {"RUN-i1": "b"}, "r-1")
    told = differences(first, second)
    assert len(told) == 4
    assert any("Be kind." in line for line in told)
    assert any(line.startswith("report.topics[0].mean") for line in told)


def test_plan_hands_out_every_pair_as_often_as_asked() -> None:
    plan = Plan(("a", "b"), ("x", "y"), repeats=2, seed=0)
    for stage in ("x", "y", "x", "y", "x", "y", "x", "y"):
        victim = plan.victim(stage)
        assert victim is not None
        plan.hit(victim, stage)
    assert plan.done
    assert set(plan.counts.values()) == {2}
    assert plan.victim("x") is None
    assert plan.victim("unplanned") is None


def test_outcome_each_thing_that_must_not_be_is_a_violation() -> None:
    fine: dict[str, Any] = {
        "run_id": "r-1",
        "study_seed": 7,
        "kills": 1,
        "duration_s": 1.0,
        "status": "succeeded",
        "error": "",
        "differences": (),
        "account": Account(1, 0, 0, ()),
        "trained_twice": (),
        "events": (),
    }
    outcome = Outcome(("a",), ("x",), wanted=1, kills=[Kill(0, "a", "x", 0.1, 1.0, 2.0)])
    outcome.runs = [RunOutcome(**fine)]
    assert outcome.violations() == []
    for change in (
        {"status": "failed"},
        {"differences": ("text",)},
        {"account": Account(2, 1, 0, ("key",))},
        {"trained_twice": ("RUN-i1",)},
        {"events": ("gaps",)},
    ):
        outcome.runs = [RunOutcome(**{**fine, **change})]
        assert len(outcome.violations()) == 1, change
    outcome.runs, outcome.kills = [RunOutcome(**fine)], []
    assert len(outcome.violations()) == 1
    assert "kills by SIGKILL" in outcome.table()
