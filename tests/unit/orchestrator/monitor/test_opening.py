"""A run by drift: who begins it, and that no study's word lets it promote by itself."""

from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ForbiddenError, NotReadyError
from services.orchestrator.identity import Scope, acting_as, require
from services.orchestrator.monitor.opening import Opener, principal_of
from services.orchestrator.monitor.records import Alarm, Found, Kind, Monitor
from services.orchestrator.records import RunRecord
from tests.fakes.monitors import monitor_text
from tests.fakes.orchestrator import World, world
from tests.fakes.studies import study_json

HASTY = {"promotion": {"automatic": True, "canary_share": 0.5, "route": "public"}}


async def _alarmed(here: World, study: dict[str, Any]) -> tuple[Monitor, Alarm]:
    """A monitor that has just raised drift."""
    monitor = await here.application.platform.monitors.create(monitor_text(on_drift={"study": study}))
    measuring, store = here.store.platform.measuring, here.store.platform.monitors
    for kind, found in ((Kind.BASELINE, Found.BASELINE), (Kind.SCHEDULED, Found.DRIFT)):
        queued = store.enqueue(monitor.monitor_id, kind, monitor.next_time)
        measuring.succeed(measuring.begin(queued, kind, 0, 1), found, "a test", {}, 1)
    (alarm,) = measuring.wanted_runs()
    return monitor, alarm


async def test_run_is_the_monitors_own_and_needs_a_person(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        monitor, alarm = await _alarmed(here, {**study_json(), **HASTY})
        opener = Opener(here.store.platform.measuring, here.application.create_run)
        await opener.open(monitor, alarm)
        opened = (await here.application.platform.monitors.alarms(monitor.monitor_id))[0][0]
        run = here.store.get_run(opened.run_id)
        assert run.created_by == f"monitor:{monitor.monitor_id}"
        promotion = run.study["promotion"]
        assert (promotion["approval"], promotion["automatic"], promotion["canary_share"]) == (
            True,
            False,
            None,
        )
        # A crash between the two writes: the same alarm opens no second run.
        await opener.open(monitor, alarm)
        assert len((await here.application.list_runs())[0]) == 1


async def test_run_that_cannot_begin_now_waits_and_one_that_never_can_says_why(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        measuring = here.store.platform.measuring
        monitor, alarm = await _alarmed(here, {**study_json(), "ruler": "0" * 64})

        async def away(study: str, key: str) -> tuple[RunRecord, bool]:
            raise NotReadyError("not yet")

        await Opener(measuring, away).open(monitor, alarm)
        assert measuring.wanted_runs() == [alarm]
        await Opener(measuring, here.application.create_run).open(monitor, alarm)
        opened = (await here.application.platform.monitors.alarms(monitor.monitor_id))[0][0]
        assert (opened.run_id, "ruler" in opened.run_error) == ("", True), opened


def test_monitor_may_run_and_nothing_else() -> None:
    with acting_as(principal_of("mo-1")):
        require(Scope.RUN)
        for scope in (Scope.PROMOTE, Scope.APPROVE, Scope.ADMIN):
            with pytest.raises(ForbiddenError):
                require(scope)
