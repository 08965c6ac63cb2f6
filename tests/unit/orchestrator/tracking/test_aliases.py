"""What is done about an alias that names something else than the route serves."""

import pytest

from services.orchestrator.store.tracking import MirroredAlias
from services.orchestrator.tracking.aliases import Move, Wanted, decide

# The route serves version 1, and has since its third version.
WANTED = Wanted("champion", "1", "valign", 3)


def known(version: str = "1", intended: str | None = None, route_version: int = 3) -> MirroredAlias:
    return MirroredAlias("model", "champion", version, intended, route_version)


@pytest.mark.parametrize(
    ("wanted", "actual", "before", "move"),
    [
        (WANTED, "1", known(), Move.KEEP),
        (WANTED, "1", None, Move.KEEP),
        (Wanted("champion", "", "valign", 0), "", None, Move.KEEP),
        # The route moved; the alias is where valign left it.
        (Wanted("champion", "2", "valign", 4), "1", known(), Move.SET),
        (Wanted("champion", "", "valign", 4), "1", known(), Move.SET),
        # Never seen before: valign's.
        (WANTED, "2", None, Move.SET),
        # valign was moving it to 2 when it died; the route has gone on since.
        (Wanted("champion", "1", "valign", 5), "2", known("1", "2", 3), Move.SET),
        # Deleted there.
        (WANTED, "", known(), Move.SET),
        # Moved there.
        (WANTED, "2", known(), Move.ASK),
        (Wanted("champion", "", "valign", 0), "2", known("", None, 0), Move.ASK),
        # Moved on both sides: the route wins.
        (Wanted("champion", "3", "valign", 4), "2", known(), Move.PUT_BACK),
        # Moved there although valign was about to.
        (WANTED, "3", known("1", "2"), Move.ASK),
        # No route.
        (Wanted("candidate", "1"), "2", known("1", None, 0), Move.PUT_BACK),
    ],
)
def test_decide(wanted: Wanted, actual: str, before: MirroredAlias | None, move: Move) -> None:
    decision = decide(wanted, actual, before, mirror_back=True)
    assert decision.move is move
    if move is Move.PUT_BACK:
        assert decision.why


def test_decide_without_mirroring_back_asks_for_nothing() -> None:
    decision = decide(WANTED, "2", known(), mirror_back=False)
    assert decision.move is Move.PUT_BACK
    assert "promote the adapter in valign" in decision.why
