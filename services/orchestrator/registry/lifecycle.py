"""The life of an adapter, and who may speak to the public. Pure.

    trained ──► proven ──► candidate ──► promoted ◄──► retired
       │           │  └───────────────────▲  │
       └───────────┴──► retired, rejected    └─ never rejected while a route serves it

An adapter that was rejected, or whose files are gone, is never promoted.
"""

from collections.abc import Mapping, Sequence

from services.common.errors import PreconditionError
from services.orchestrator.registry.records import (
    BASE,
    AdapterApproval,
    AdapterChange,
    AdapterRecord,
    AdapterState,
    RouteChange,
)

_S = AdapterState
ALLOWED: Mapping[AdapterState, frozenset[AdapterState]] = {
    _S.TRAINED: frozenset({_S.PROVEN, _S.RETIRED, _S.REJECTED}),
    _S.PROVEN: frozenset({_S.CANDIDATE, _S.PROMOTED, _S.RETIRED, _S.REJECTED}),
    # Proven: a human review may take the gate's word back.
    _S.CANDIDATE: frozenset({_S.PROVEN, _S.PROMOTED, _S.RETIRED, _S.REJECTED}),
    _S.PROMOTED: frozenset({_S.RETIRED}),
    # Candidate: a run that was opened again may choose what it passed over before.
    _S.RETIRED: frozenset({_S.CANDIDATE, _S.PROMOTED, _S.REJECTED}),
    _S.REJECTED: frozenset(),
}
"""From each state to which others it may go."""

_UNSERVED = frozenset({_S.PROVEN, _S.CANDIDATE, _S.RETIRED})

ROLLED_BACK = "rolled back"
"""What the reason of a route's change begins with if the change undid another."""

AGAINST_THE_GATE = "promoted against the gate"
"""What the reason of a promotion begins with that an admin has overridden."""

PASSED_REVIEW = "human review: promote"
"""What the reason begins with that tells of a verdict for it, given after a human review."""

HELD_BY_REVIEW = ("human review: hold", "human review: reject")
"""The same, of verdicts that take an earlier word for it back."""

_QUOTED_CHARACTERS = 300


def check_move(name: str, now: AdapterState, to: AdapterState) -> None:
    """PreconditionError if an adapter cannot go from one state to the other."""
    if to not in ALLOWED[now]:
        allowed = ", ".join(sorted(ALLOWED[now])) or "nothing any more"
        raise PreconditionError(f"adapter {name} is {now.value} and cannot become {to.value}; only {allowed}")


def was_promoted(history: Sequence[AdapterChange]) -> bool:
    """Whether the gate's word has made it serve a route before; ``history`` is oldest first.

    An admin's override counts for the one promotion that it was given for, and neither does a roll-back to
    such an adapter turn it into one that the gate let pass. A verdict after a human review is the newest
    word: one against the adapter takes back what was said before.
    """
    before = [None, *(change.state for change in history)]
    promoted = held = False
    for was, change in zip(before, history, strict=False):
        if change.reason.startswith(HELD_BY_REVIEW):
            held = True
        elif change.reason.startswith(PASSED_REVIEW):
            held = False
        elif change.state is AdapterState.PROMOTED and was is not AdapterState.PROMOTED:
            promoted |= not change.reason.startswith((AGAINST_THE_GATE, ROLLED_BACK))
    return promoted and not held


def after_review(
    adapter: AdapterRecord, decision: str, headline: str, *, served: bool
) -> tuple[AdapterState, str]:
    """State and reason once the gate has decided anew after a human review.

    What a route names is never moved: people must end that, and its history tells them why.
    """
    state = adapter.state
    reason = _brief(f"human review: {decision}: {headline}", 2000)
    match decision:
        case "promote" if state is AdapterState.PROVEN:
            return AdapterState.CANDIDATE, reason
        case "promote" if state in (AdapterState.PROMOTED, AdapterState.RETIRED):
            return state, reason
        case "hold" if state is AdapterState.CANDIDATE:
            return AdapterState.PROVEN, reason
        case "reject" if state in _UNSERVED and not served:
            return AdapterState.REJECTED, reason
        case "hold" | "reject" if state not in (AdapterState.REJECTED, AdapterState.TRAINED):
            return (AdapterState.PROVEN if state is AdapterState.CANDIDATE else state), reason
    return state, adapter.reason


def needs_override(adapter: AdapterRecord, history: Sequence[AdapterChange]) -> bool:
    """Whether the gate's word is missing: neither a candidate nor promoted at any time."""
    return adapter.state is not AdapterState.CANDIDATE and not was_promoted(history)


def check_servable(adapter: AdapterRecord) -> None:
    """PreconditionError for what no route may ever serve, whoever asks."""
    if adapter.prune_time is not None:
        raise PreconditionError(
            f"adapter {adapter.name} was pruned on {adapter.prune_time:%Y-%m-%d}: its files are gone;"
            " train it anew"
        )
    if adapter.state is AdapterState.REJECTED:
        raise PreconditionError(
            f"adapter {adapter.name} is rejected ({adapter.reason}) and cannot be served; promote another one"
        )
    if adapter.state is AdapterState.TRAINED:
        raise PreconditionError(
            f"adapter {adapter.name} is trained, and no generator has proven it; its run does that when it"
            " loads it"
        )


def check_promotion(
    adapter: AdapterRecord,
    history: Sequence[AdapterChange],
    approvals: Sequence[AdapterApproval],
    *,
    override: bool,
) -> None:
    """PreconditionError unless a route may serve it: a candidate, or one that was promoted before, approved
    where that is asked for. ``override`` stands for the gate's word, never for the approval."""
    check_servable(adapter)
    if needs_override(adapter, history) and not override:
        raise PreconditionError(
            f"adapter {adapter.name} is {adapter.state.value}, not a candidate ({_brief(adapter.reason)})."
            " Promote a candidate, or give an override_reason (needs the scope admin)"
        )
    if adapter.approval_required and not [a for a in approvals if a.actor != adapter.created_by]:
        raise PreconditionError(
            f"adapter {adapter.name} needs the approval of somebody other than {adapter.created_by},"
            " who began its run; approve it first"
        )


def _brief(reason: str, most: int = _QUOTED_CHARACTERS) -> str:
    return reason if len(reason) <= most else f"{reason[: most - 1]}…"


def check_approver(adapter: AdapterRecord, actor: str) -> None:
    """PreconditionError if this is no second person, or if nobody's word can change anything."""
    if actor == adapter.created_by:
        without = (
            " Without credentials everybody is 'local': give each person an API key, or use OIDC"
            if actor == "local"
            else ""
        )
        raise PreconditionError(
            f"{actor} began run {adapter.run_id}, which trained adapter {adapter.name}, and cannot approve"
            f" it: that takes a second person.{without}"
        )
    if adapter.state is AdapterState.REJECTED or adapter.prune_time is not None:
        check_servable(adapter)


def previous_of(history: Sequence[RouteChange]) -> str:
    """What a route served before what it serves now; ``history`` is oldest first.

    A roll-back undoes a promotion, as an editor's undo does: rolled back once more, the route goes one
    further, and not forward again to what was found bad.
    """
    served: list[str] = [BASE]
    for change in history:
        if change.adapter == served[-1]:
            continue
        if change.reason.startswith(ROLLED_BACK) and change.adapter in served:
            while served[-1] != change.adapter:
                served.pop()
        else:
            served.append(change.adapter)
    return served[-2] if len(served) > 1 else BASE
