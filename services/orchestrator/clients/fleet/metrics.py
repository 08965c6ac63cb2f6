"""Prometheus metrics of the replicas that work is given to.

The label ``replica`` is an address, and addresses come and go: a replica that leaves takes its series with
it, and beyond the first MOST_REPLICAS that are there at once they count together as ``other``.
"""

from contextlib import suppress

from prometheus_client import Counter, Gauge

MOST_REPLICAS = 128
OTHER = "other"

UP = Gauge(
    "valign_orchestrator_replica_serving", "1 if the replica answers and serves, else 0.", ("replica",)
)
IN_FLIGHT = Gauge(
    "valign_orchestrator_replica_in_flight",
    "Items given to the replica that have not come back.",
    ("replica",),
)
ITEMS = Counter(
    "valign_orchestrator_replica_items_total",
    "Completions and scores that the replica gave, and items that were taken back from it, by outcome.",
    ("replica", "outcome"),
)
_OUTCOMES = ("done", "taken_back")

_known: set[str] = set()


def join(target: str) -> str:
    """A replica's label; its series begin at 0."""
    if target not in _known and len(_known) >= MOST_REPLICAS:
        return OTHER
    _known.add(target)
    UP.labels(target).set(0)
    IN_FLIGHT.labels(target).set(0)
    for outcome in _OUTCOMES:
        ITEMS.labels(target, outcome)
    return target


def leave(label: str) -> None:
    """The replica is not there any more."""
    if label == OTHER or label not in _known:
        return
    _known.discard(label)
    with suppress(KeyError):
        UP.remove(label)
        IN_FLIGHT.remove(label)
        for outcome in _OUTCOMES:
            ITEMS.remove(label, outcome)
