"""What an alias shall name, and what to do about one that names something else. Pure.

valign knows of each alias what it has seen it name last, and which version of the route that was. An alias
that names something else was moved by somebody in MLflow; unless the route has moved as well, which goes
first.
"""

from dataclasses import dataclass
from enum import Enum

from services.orchestrator.store.tracking import MirroredAlias


class Move(Enum):
    """What to do about an alias."""

    KEEP = "keep"
    SET = "set"
    """Let it follow valign."""
    ASK = "ask"
    """Somebody has moved it in MLflow: ask for the promotion."""
    PUT_BACK = "put back"
    """Somebody has moved it in MLflow, in vain."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What valign wants an alias to name ("" for nothing), and the version of its route (0: never set).

    ``route`` is empty for an alias that follows no route.
    """

    alias: str
    version: str
    route: str = ""
    route_version: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """A move, and why if it goes against what somebody did."""

    move: Move
    why: str = ""


def decide(wanted: Wanted, actual: str, known: MirroredAlias | None, *, mirror_back: bool) -> Decision:
    """What to do about an alias that names ``actual`` ("" for nothing) in MLflow now.

    Of two who move an alias and its route at the same time the route's mover wins, whoever is seen first.
    """
    if actual == wanted.version:
        return Decision(Move.KEEP)
    if known is None:
        # valign has never set it: it belongs to valign from now on.
        return Decision(Move.SET)
    if actual in (known.version, known.intended):
        return Decision(Move.SET)
    if not actual:
        return Decision(Move.SET, "it was deleted in MLflow; only a promotion or a roll-back moves a route")
    if not wanted.route:
        return Decision(Move.PUT_BACK, "which adapter is a candidate is the gate's word")
    if wanted.route_version != known.route_version:
        return Decision(Move.PUT_BACK, f"route {wanted.route} was moved in valign at the same time")
    if not mirror_back:
        return Decision(
            Move.PUT_BACK, "promotions made in MLflow are not mirrored back; promote the adapter in valign"
        )
    return Decision(Move.ASK)
