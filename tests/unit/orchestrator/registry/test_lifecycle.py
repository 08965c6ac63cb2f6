"""Which ways there are, who may be promoted, and what comes before what."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import PreconditionError
from services.orchestrator.registry.lifecycle import (
    ALLOWED,
    ROLLED_BACK,
    check_approver,
    check_move,
    check_promotion,
    previous_of,
)
from services.orchestrator.registry.records import AdapterApproval, AdapterChange, AdapterState, RouteChange
from tests.fakes.registry import NOW, record

S = AdapterState


def history(*states: AdapterState) -> list[AdapterChange]:
    return [AdapterChange(number, NOW, state, "valign", "") for number, state in enumerate(states, 1)]


def change(version: int, adapter: str, reason: str = "promoted") -> RouteChange:
    return RouteChange(version, adapter, "", 0.0, datetime.min, "key:ana", reason)


def test_check_move_follows_the_table_and_rejected_is_the_end() -> None:
    for now in S:
        for to in S:
            if to in ALLOWED[now]:
                check_move("a", now, to)
            else:
                with pytest.raises(PreconditionError, match=f"a is {now.value} and cannot become"):
                    check_move("a", now, to)
    assert not ALLOWED[S.REJECTED]
    assert S.REJECTED not in ALLOWED[S.PROMOTED]
    assert not [now for now in S if S.TRAINED in ALLOWED[now]]


@pytest.mark.parametrize(
    ("state", "past", "override", "allowed"),
    [
        (S.CANDIDATE, (), False, True),
        (S.PROVEN, (), False, False),
        (S.PROVEN, (), True, True),
        (S.TRAINED, (), True, False),
        (S.REJECTED, (S.PROMOTED,), True, False),
        (S.RETIRED, (S.PROMOTED, S.RETIRED), False, True),
        (S.RETIRED, (S.PROVEN, S.RETIRED), False, False),
        (S.RETIRED, (S.PROVEN, S.RETIRED), True, True),
        (S.PROMOTED, (S.PROMOTED,), False, True),
    ],
)
def test_check_promotion_state_and_past_decide(state, past, override: bool, allowed: bool) -> None:
    adapter = record("a", state)
    if allowed:
        check_promotion(adapter, history(*past), [], override=override)
    else:
        with pytest.raises(PreconditionError, match="adapter a "):
            check_promotion(adapter, history(*past), [], override=override)


@pytest.mark.parametrize("state", list(S))
def test_check_promotion_pruned_adapter_never(state: AdapterState) -> None:
    pruned = record("a", state, prune_time=NOW)
    with pytest.raises(PreconditionError, match="was pruned on 2026-11-26"):
        check_promotion(pruned, history(S.PROMOTED), [], override=True)


def test_check_promotion_approval_must_be_somebody_elses() -> None:
    adapter = record("a", S.CANDIDATE, approval_required=True)
    own, other = (AdapterApproval(actor, NOW, "") for actor in (adapter.created_by, "key:ben"))
    for given_, override in (([], False), ([own], False), ([own], True)):
        with pytest.raises(PreconditionError, match="approval of somebody other than key:ana"):
            check_promotion(adapter, [], given_, override=override)
    check_promotion(adapter, [], [own, other], override=False)


def test_check_approver_who_began_the_run_is_told_what_to_do() -> None:
    adapter = record("a", S.CANDIDATE)
    check_approver(adapter, "key:ben")
    with pytest.raises(PreconditionError, match="key:ana began run r-1") as caught:
        check_approver(adapter, "key:ana")
    assert "API key" not in caught.value.message
    with pytest.raises(PreconditionError, match="give each person an API key"):
        check_approver(replace(adapter, created_by="local"), "local")
    with pytest.raises(PreconditionError, match="is rejected"):
        check_approver(replace(adapter, state=S.REJECTED), "key:ben")


def test_previous_of_rolled_back_twice_goes_further_back_and_not_forward() -> None:
    steps = [change(1, "a"), change(2, "b"), change(3, "c")]
    assert previous_of([]) == ""
    assert previous_of(steps[:1]) == ""
    assert previous_of(steps) == "b"
    steps.append(change(4, "b", f"{ROLLED_BACK}: rude"))
    assert previous_of(steps) == "a"
    steps.append(change(5, "a", ROLLED_BACK))
    assert previous_of(steps) == ""
    # Rolled forward again by a promotion: that can be undone like any other.
    steps.append(change(6, "c"))
    assert previous_of(steps) == "a"
    # A canary leaves the adapter as it is.
    steps.append(change(7, "c", "canary with a share of 0.1"))
    assert previous_of(steps) == "a"


@given(st.lists(st.sampled_from("abcd"), max_size=12))
def test_previous_of_repeated_roll_backs_end_at_the_base_model(promoted: list[str]) -> None:
    steps = [change(number, name) for number, name in enumerate(promoted, 1)]
    for _ in range(len(promoted) + 1):
        steps.append(change(len(steps) + 1, previous_of(steps), ROLLED_BACK))
    assert steps[-1].adapter == ""
