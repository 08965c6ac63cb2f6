from types import SimpleNamespace

import pytest

from services.common.errors import InvalidInputError, NotReadyError
from services.orchestrator.clients.patience import Patience, Waiter


async def test_pause_error_that_waiting_cannot_cure_is_raised_at_once() -> None:
    waiter = Waiter("generator", Patience(wait_s=60), lambda service, reason: None)
    with pytest.raises(InvalidInputError):
        await waiter.pause(InvalidInputError("wrong"))


async def test_pause_time_is_over_raises_and_names_the_setting() -> None:
    waiter = Waiter("generator", Patience(wait_s=0), lambda service, reason: None)
    with pytest.raises(NotReadyError) as raised:
        await waiter.pause(NotReadyError("loading"))
    assert "VALIGN_ORCHESTRATOR_WAIT_FOR_SERVICES_S" in raised.value.message


async def test_pause_not_ready_tells_service_and_reason() -> None:
    told: list[tuple[str, str]] = []
    waiter = Waiter("trainer", Patience(wait_s=5), lambda service, reason: told.append((service, reason)))
    await waiter.pause(NotReadyError("loading"))
    assert told == [("trainer", "loading")]


async def test_pause_after_long_quiet_call_waits_from_the_failure_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("services.orchestrator.clients.patience.time", clock)
    waiter = Waiter("trainer", Patience(wait_s=10), lambda service, reason: None)
    waiter.progress()
    now[0] = 3600
    await waiter.pause(NotReadyError("restarting"))
    now[0] = 3611
    with pytest.raises(NotReadyError, match="waited 11 s"):
        await waiter.pause(NotReadyError("restarting"))
