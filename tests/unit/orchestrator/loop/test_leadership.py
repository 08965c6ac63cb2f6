"""Campaigning, leading, losing: on a real SQLite lease, with a loop that does nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.common.errors import NotReadyError
from services.common.rpc.fence import Epoch, epoch_metadata
from services.orchestrator.loop.holder import Holder
from services.orchestrator.loop.leadership import Doorbell, Leadership
from services.orchestrator.store import SqlRunStore
from tests.fakes.orchestrator import migrated_store


@dataclass
class IdleLoop:
    """Remembers when it ran."""

    cut_off: asyncio.Event = field(default_factory=asyncio.Event)
    launched: list[int] = field(default_factory=list)
    stopped: int = 0
    fails: int = 0

    async def launch(self, epoch: Epoch | None = None) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("no database")
        assert epoch is not None
        self.cut_off.clear()
        self.launched.append(epoch.number)

    async def shutdown(self) -> None:
        self.stopped += 1


@pytest.fixture
def store(tmp_path: Path) -> SqlRunStore:
    return migrated_store(tmp_path)[0]


async def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def elsewhere() -> Holder:
    """A process of another machine: alive as far as anybody knows."""
    return replace(Holder.of_this_process(), host="elsewhere")


async def test_standby_takes_over_when_the_lease_no_longer_moves(store: SqlRunStore) -> None:
    store.leases.acquire("somebody", None)
    loop = IdleLoop()
    leading = asyncio.create_task(Leadership(store.leases, loop, timeout_s=1).run())
    await asyncio.sleep(0.5)
    assert loop.launched == []
    await until(lambda: loop.launched)
    assert loop.launched == [2]
    await stop(leading)


async def test_standby_waits_while_the_leader_renews_and_begins_when_it_leaves(store: SqlRunStore) -> None:
    first, second = IdleLoop(), IdleLoop()
    leading = asyncio.create_task(Leadership(store.leases, first, timeout_s=1, holder=elsewhere()).run())
    await until(lambda: first.launched)
    waiting = asyncio.create_task(Leadership(store.leases, second, timeout_s=1).run())
    await asyncio.sleep(2.5)
    assert second.launched == []
    await stop(leading)
    assert (first.stopped, store.leases.read().holder) == (1, "") or second.launched
    await until(lambda: second.launched, 2)
    await stop(waiting)


async def test_leader_that_is_dispossessed_stops_and_campaigns_again(store: SqlRunStore) -> None:
    loop = IdleLoop()
    leadership = Leadership(store.leases, loop, timeout_s=1)
    leading = asyncio.create_task(leadership.run())
    await until(lambda: leadership.epoch == 1)
    store.leases.acquire("thief", store.leases.read())
    await until(lambda: loop.stopped == 1)
    assert leadership.epoch is None
    await until(lambda: loop.launched == [1, 3])
    await stop(leading)


async def test_leader_whose_database_is_away_stops_in_time_and_leads_again(
    store: SqlRunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("no database")

    loop = IdleLoop()
    leading = asyncio.create_task(Leadership(store.leases, loop, timeout_s=1).run())
    await until(lambda: loop.launched)
    with monkeypatch.context() as patched:
        for name in ("read", "renew", "release", "acquire"):
            patched.setattr(store.leases, name, away)
        await until(lambda: loop.stopped == 1, 3)
        await asyncio.sleep(1.5)
        assert not leading.done()
        assert loop.launched == [1]
    await until(lambda: loop.launched == [1, 2])
    await stop(leading)


async def test_launch_that_fails_is_tried_again(store: SqlRunStore) -> None:
    loop = IdleLoop(fails=1)
    leading = asyncio.create_task(Leadership(store.leases, loop, timeout_s=1).run())
    await until(lambda: loop.launched)
    assert (loop.launched, loop.stopped) == ([2], 1)
    await stop(leading)


async def test_run_that_is_cut_off_begins_a_new_epoch(store: SqlRunStore) -> None:
    loop = IdleLoop()
    leading = asyncio.create_task(Leadership(store.leases, loop, timeout_s=1).run())
    await until(lambda: loop.launched)
    loop.cut_off.set()
    await until(lambda: loop.launched == [1, 2])
    await stop(leading)


async def test_tasks_of_the_leader_are_told_the_epoch_and_end_with_it(store: SqlRunStore) -> None:
    told: list[object] = []

    async def task(epoch: int) -> None:
        told.append((epoch, dict(epoch_metadata())["valign-epoch"]))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    leading = asyncio.create_task(Leadership(store.leases, IdleLoop(), timeout_s=1, tasks=[task]).run())
    await until(lambda: told)
    await stop(leading)
    assert told == [(1, "1"), "cancelled"]


@pytest.mark.parametrize("error", [OSError("broken"), asyncio.CancelledError()], ids=["fails", "cancelled"])
async def test_task_of_the_leader_that_fails_begins_a_new_epoch(
    store: SqlRunStore, error: BaseException
) -> None:
    epochs: list[int] = []

    async def task(epoch: int) -> None:
        epochs.append(epoch)
        raise error

    leading = asyncio.create_task(Leadership(store.leases, IdleLoop(), timeout_s=1, tasks=[task]).run())
    await until(lambda: len(epochs) == 2)
    await stop(leading)
    assert epochs == [1, 2]


async def test_doorbell_that_is_closed_is_not_ready_and_rings_when_open() -> None:
    rung: list[int] = []
    bell = Doorbell(lambda: rung.append(1))
    with pytest.raises(NotReadyError):
        bell.check_ready()
    bell.open = True
    bell.check_ready()
    await bell.enqueue("r-1")
    await bell.cancel("r-1")
    assert rung == [1, 1]
    await Doorbell().enqueue("r-1")
