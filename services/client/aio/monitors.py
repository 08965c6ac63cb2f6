"""Monitors: what serves is measured again on schedule, and drift raises an alarm."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.models_monitors import (
    Measurement,
    MeasurementPage,
    Monitor,
    MonitorAlarm,
    MonitorAlarmPage,
    MonitorPage,
    MonitorSamplePage,
)
from services.client.settings import asked


class AsyncMonitors:
    """``client.monitors``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def create(self, document: str) -> Monitor:
        """Watch what a YAML or JSON document names, from now on."""
        return Monitor.model_validate(await self._http.json("POST", "/monitors", json={"document": document}))

    async def page(self, *, page_size: int = 50, page_token: str = "") -> MonitorPage:
        """One page of monitors, newest first."""
        params = asked({"page_size": page_size, "page_token": page_token})
        return MonitorPage.model_validate(await self._http.json("GET", "/monitors", params=params))

    async def list(self) -> AsyncIterator[Monitor]:
        """All monitors, newest first."""
        token = ""
        while True:
            page = await self.page(page_token=token)
            for monitor in page.monitors:
                yield monitor
            token = page.next_page_token
            if not token:
                return

    async def get(self, monitor_id: str) -> Monitor:
        """One monitor, and how it stands."""
        return Monitor.model_validate(await self._http.json("GET", _one(monitor_id)))

    async def pause(self, monitor_id: str) -> Monitor:
        """Measure no more on schedule."""
        return Monitor.model_validate(await self._http.json("POST", f"{_one(monitor_id)}/pause"))

    async def resume(self, monitor_id: str) -> Monitor:
        """Go on with the schedule's next moment."""
        return Monitor.model_validate(await self._http.json("POST", f"{_one(monitor_id)}/resume"))

    async def delete(self, monitor_id: str) -> None:
        """Remove it with its measurements and alarms."""
        await self._http.request("DELETE", _one(monitor_id))

    async def measure(self, monitor_id: str) -> Measurement:
        """Measure now; the measurement that is open already if there is one."""
        return Measurement.model_validate(await self._http.json("POST", f"{_one(monitor_id)}/measure"))

    async def measurements(
        self, monitor_id: str, *, page_size: int = 50, page_token: str = ""
    ) -> MeasurementPage:
        """One page of what it found, newest first."""
        params: dict[str, Any] = asked({"page_size": page_size, "page_token": page_token})
        answer = await self._http.json("GET", f"{_one(monitor_id)}/measurements", params=params)
        return MeasurementPage.model_validate(answer)

    async def measurement(self, monitor_id: str, number: int) -> Measurement:
        """One measurement."""
        answer = await self._http.json("GET", f"{_one(monitor_id)}/measurements/{number}")
        return Measurement.model_validate(answer)

    async def alarms(self, monitor_id: str, *, page_size: int = 50, page_token: str = "") -> MonitorAlarmPage:
        """One page of its alarms, newest first."""
        params: dict[str, Any] = asked({"page_size": page_size, "page_token": page_token})
        answer = await self._http.json("GET", f"{_one(monitor_id)}/alarms", params=params)
        return MonitorAlarmPage.model_validate(answer)

    async def samples(
        self, monitor_id: str, *, page_size: int = 50, page_token: str = ""
    ) -> MonitorSamplePage:
        """One page of what people asked and were answered, redacted; newest first. Takes the scope admin."""
        params: dict[str, Any] = asked({"page_size": page_size, "page_token": page_token})
        answer = await self._http.json("GET", f"{_one(monitor_id)}/samples", params=params)
        return MonitorSamplePage.model_validate(answer)

    async def acknowledge(self, monitor_id: str, number: int, comment: str = "") -> MonitorAlarm:
        """Say that an alarm was seen."""
        path = f"{_one(monitor_id)}/alarms/{number}/acknowledge"
        return MonitorAlarm.model_validate(await self._http.json("POST", path, json={"comment": comment}))


def _one(monitor_id: str) -> str:
    return f"/monitors/{quote(monitor_id, safe='')}"
