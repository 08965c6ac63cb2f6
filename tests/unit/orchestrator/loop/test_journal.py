"""Events are stored in order, and a store that fails is heard of."""

import asyncio

import pytest

from services.orchestrator.loop.journal import Journal


class Store:
    """``add_event`` alone; it fails for the kind "bad"."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def add_event(self, run_id: str, kind: str, data: object = None) -> None:
        if kind == "bad":
            raise OSError("the disk is full")
        self.kinds.append(kind)


async def test_flush_events_emitted_meanwhile_keep_their_order() -> None:
    store = Store()
    journal = Journal(store, "r-1")
    expected = [str(number) for number in range(200)]
    for number in expected:
        journal.emit(number)
        if int(number) % 7 == 0:
            await journal.flush()
    await journal.flush()
    assert store.kinds == expected


async def test_flush_event_that_was_not_stored_raises_though_later_ones_came() -> None:
    store = Store()
    journal = Journal(store, "r-1")
    journal.emit("bad")
    while journal._writer is not None and not journal._writer.done():
        await asyncio.sleep(0.01)
    journal.emit("good")
    with pytest.raises(OSError, match="full"):
        await journal.flush()
    await journal.flush()
    assert store.kinds == ["good"]
