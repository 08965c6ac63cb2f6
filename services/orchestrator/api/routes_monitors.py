"""Monitors, their measurements and alarms over REST."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from services.common.errors import ErrorCode
from services.orchestrator.api.lists import PageSize, PageToken
from services.orchestrator.api.models_monitors import (
    AcknowledgeBody,
    CreateMonitorBody,
    MeasurementList,
    MeasurementSummary,
    MonitorAlarm,
    MonitorAlarmList,
    MonitorList,
    MonitorSample,
    MonitorSampleList,
    MonitorSummary,
)
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application

PATH = "/monitors"
_ONE = f"{PATH}/{{monitor_id}}"
Number = Annotated[int, Path(description="Its number among the monitor's, from 1.", ge=1, le=2**31 - 1)]
_INVALID, _MISSING, _HELD = ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION


def router(application: Application) -> APIRouter:
    """The routes under /v1/monitors."""
    routes = APIRouter(tags=["monitors"])

    @routes.post(
        PATH,
        summary="Make a monitor",
        operation_id="createMonitor",
        status_code=status.HTTP_201_CREATED,
        responses=problems(_INVALID, _MISSING, _HELD),
    )
    async def create_monitor(body: CreateMonitorBody) -> MonitorSummary:
        """Watch a route or an endpoint. Its baseline is taken at once."""
        return MonitorSummary.of(await application.platform.monitors.create(body.document))

    @routes.get(PATH, summary="List monitors", operation_id="listMonitors", responses=problems(_INVALID))
    async def list_monitors(page_size: PageSize = 50, page_token: PageToken = "") -> MonitorList:
        """The monitors, and how they stand."""
        found, token = await application.platform.monitors.page(page_size, page_token)
        return MonitorList(monitors=[MonitorSummary.of(one) for one in found], next_page_token=token)

    @routes.get(_ONE, summary="Get a monitor", operation_id="getMonitor", responses=problems(_MISSING))
    async def get_monitor(monitor_id: str) -> MonitorSummary:
        """One monitor, and how it stands."""
        return MonitorSummary.of(await application.platform.monitors.get(monitor_id))

    @routes.delete(
        _ONE,
        summary="Delete a monitor",
        operation_id="deleteMonitor",
        status_code=status.HTTP_204_NO_CONTENT,
        responses=problems(_MISSING),
    )
    async def delete_monitor(monitor_id: str) -> None:
        """Remove it with its measurements and alarms."""
        await application.platform.monitors.delete(monitor_id)

    @routes.post(
        f"{_ONE}/pause",
        summary="Pause a monitor",
        operation_id="pauseMonitor",
        responses=problems(_MISSING),
    )
    async def pause_monitor(monitor_id: str) -> MonitorSummary:
        """Measure no more on schedule, until it is resumed."""
        return MonitorSummary.of(await application.platform.monitors.pause(monitor_id, paused=True))

    @routes.post(
        f"{_ONE}/resume",
        summary="Resume a monitor",
        operation_id="resumeMonitor",
        responses=problems(_MISSING),
    )
    async def resume_monitor(monitor_id: str) -> MonitorSummary:
        """Go on with the schedule's next moment."""
        return MonitorSummary.of(await application.platform.monitors.pause(monitor_id, paused=False))

    @routes.post(
        f"{_ONE}/measure",
        summary="Measure now",
        operation_id="measureMonitor",
        status_code=status.HTTP_202_ACCEPTED,
        responses=problems(_MISSING),
    )
    async def measure_monitor(monitor_id: str) -> MeasurementSummary:
        """Ask what it watches now, also while it is paused; what is open already is not begun twice."""
        return MeasurementSummary.of(await application.platform.monitors.measure(monitor_id))

    @routes.get(
        f"{_ONE}/measurements",
        summary="List a monitor's measurements",
        operation_id="listMeasurements",
        responses=problems(_INVALID, _MISSING),
    )
    async def list_measurements(
        monitor_id: str, page_size: PageSize = 50, page_token: PageToken = ""
    ) -> MeasurementList:
        """What it found, newest first."""
        found, token = await application.platform.monitors.measurements(monitor_id, page_size, page_token)
        return MeasurementList(
            measurements=[MeasurementSummary.of(one) for one in found], next_page_token=token
        )

    @routes.get(
        f"{_ONE}/measurements/{{number}}",
        summary="Get a measurement",
        operation_id="getMeasurement",
        responses=problems(_INVALID, _MISSING),
    )
    async def get_measurement(monitor_id: str, number: Number) -> MeasurementSummary:
        """One measurement."""
        return MeasurementSummary.of(await application.platform.monitors.measurement(monitor_id, number))

    @routes.get(
        f"{_ONE}/alarms",
        summary="List a monitor's alarms",
        operation_id="listMonitorAlarms",
        responses=problems(_INVALID, _MISSING),
    )
    async def list_monitor_alarms(
        monitor_id: str, page_size: PageSize = 50, page_token: PageToken = ""
    ) -> MonitorAlarmList:
        """What it raised, newest first."""
        found, token = await application.platform.monitors.alarms(monitor_id, page_size, page_token)
        return MonitorAlarmList(alarms=[MonitorAlarm.of(one) for one in found], next_page_token=token)

    @routes.get(
        f"{_ONE}/samples",
        summary="List a monitor's live exchanges",
        operation_id="listMonitorSamples",
        responses=problems(_INVALID, _MISSING),
    )
    async def list_monitor_samples(
        monitor_id: str, page_size: PageSize = 50, page_token: PageToken = ""
    ) -> MonitorSampleList:
        """What people asked and were answered, redacted; newest first. Each page leaves an audit entry."""
        found, token = await application.platform.monitors.samples(monitor_id, page_size, page_token)
        return MonitorSampleList(samples=[MonitorSample.of(one) for one in found], next_page_token=token)

    @routes.post(
        f"{_ONE}/alarms/{{number}}/acknowledge",
        summary="Acknowledge an alarm",
        operation_id="acknowledgeMonitorAlarm",
        responses=problems(_INVALID, _MISSING, _HELD),
    )
    async def acknowledge_monitor_alarm(
        monitor_id: str, number: Number, body: AcknowledgeBody
    ) -> MonitorAlarm:
        """Somebody has seen it; it clears by itself once what it told is over."""
        return MonitorAlarm.of(
            await application.platform.monitors.acknowledge(monitor_id, number, body.comment)
        )

    return routes
