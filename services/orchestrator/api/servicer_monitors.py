"""Monitors, their measurements and alarms over gRPC."""

import json
from typing import Any

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import convert
from services.orchestrator.application import Application
from services.orchestrator.monitor.live.records import Sample
from services.orchestrator.monitor.records import Alarm, Measurement, Monitor
from services.orchestrator.monitor.service import Monitors

_DEFAULT_PAGE_SIZE = 50


class MonitorServicer:
    """A part of the OrchestratorService."""

    _application: Application

    @property
    def _monitors(self) -> Monitors:
        return self._application.platform.monitors

    async def CreateMonitor(self, request: pb.CreateMonitorRequest, context: Any) -> pb.CreateMonitorResponse:
        """Watch something."""
        return pb.CreateMonitorResponse(monitor=_monitor(await self._monitors.create(request.document)))

    async def ListMonitors(self, request: pb.ListMonitorsRequest, context: Any) -> pb.ListMonitorsResponse:
        """A page of monitors."""
        found, token = await self._monitors.page(request.page_size or _DEFAULT_PAGE_SIZE, request.page_token)
        return pb.ListMonitorsResponse(monitors=[_monitor(one) for one in found], next_page_token=token)

    async def GetMonitor(self, request: pb.GetMonitorRequest, context: Any) -> pb.GetMonitorResponse:
        """One monitor."""
        return pb.GetMonitorResponse(monitor=_monitor(await self._monitors.get(request.monitor_id)))

    async def PauseMonitor(self, request: pb.PauseMonitorRequest, context: Any) -> pb.PauseMonitorResponse:
        """Measure no more."""
        paused = await self._monitors.pause(request.monitor_id, paused=True)
        return pb.PauseMonitorResponse(monitor=_monitor(paused))

    async def ResumeMonitor(self, request: pb.ResumeMonitorRequest, context: Any) -> pb.ResumeMonitorResponse:
        """Go on."""
        resumed = await self._monitors.pause(request.monitor_id, paused=False)
        return pb.ResumeMonitorResponse(monitor=_monitor(resumed))

    async def DeleteMonitor(self, request: pb.DeleteMonitorRequest, context: Any) -> pb.DeleteMonitorResponse:
        """Remove it."""
        await self._monitors.delete(request.monitor_id)
        return pb.DeleteMonitorResponse()

    async def MeasureMonitor(
        self, request: pb.MeasureMonitorRequest, context: Any
    ) -> pb.MeasureMonitorResponse:
        """Measure now."""
        return pb.MeasureMonitorResponse(
            measurement=_measurement(await self._monitors.measure(request.monitor_id))
        )

    async def ListMeasurements(
        self, request: pb.ListMeasurementsRequest, context: Any
    ) -> pb.ListMeasurementsResponse:
        """A page of measurements."""
        found, token = await self._monitors.measurements(
            request.monitor_id, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        return pb.ListMeasurementsResponse(
            measurements=[_measurement(one) for one in found], next_page_token=token
        )

    async def GetMeasurement(
        self, request: pb.GetMeasurementRequest, context: Any
    ) -> pb.GetMeasurementResponse:
        """One measurement."""
        return pb.GetMeasurementResponse(
            measurement=_measurement(await self._monitors.measurement(request.monitor_id, request.number))
        )

    async def ListMonitorAlarms(
        self, request: pb.ListMonitorAlarmsRequest, context: Any
    ) -> pb.ListMonitorAlarmsResponse:
        """A page of alarms."""
        found, token = await self._monitors.alarms(
            request.monitor_id, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        return pb.ListMonitorAlarmsResponse(alarms=[_alarm(one) for one in found], next_page_token=token)

    async def ListMonitorSamples(
        self, request: pb.ListMonitorSamplesRequest, context: Any
    ) -> pb.ListMonitorSamplesResponse:
        """A page of exchanges."""
        found, token = await self._monitors.samples(
            request.monitor_id, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token
        )
        return pb.ListMonitorSamplesResponse(samples=[_sample(one) for one in found], next_page_token=token)

    async def AcknowledgeMonitorAlarm(
        self, request: pb.AcknowledgeMonitorAlarmRequest, context: Any
    ) -> pb.AcknowledgeMonitorAlarmResponse:
        """Somebody has seen it."""
        seen = await self._monitors.acknowledge(request.monitor_id, request.number, request.comment)
        return pb.AcknowledgeMonitorAlarmResponse(alarm=_alarm(seen))


def _monitor(monitor: Monitor) -> pb.Monitor:
    made = pb.Monitor(
        monitor_id=monitor.monitor_id,
        name=monitor.name,
        state=pb.MonitorState.Value(f"MONITOR_STATE_{monitor.state.name}"),
        route=monitor.route,
        endpoint=monitor.endpoint,
        schedule=monitor.document["schedule"],
        time_zone=monitor.document["time_zone"],
        document=json.dumps(dict(monitor.document), ensure_ascii=False),
        create_by=monitor.create_by,
        baseline_number=monitor.baseline_number,
        last_error=monitor.last_error,
        failures=monitor.failures,
        live_kept=monitor.live_kept,
        live_error=monitor.live_error,
    )
    if monitor.live_last_time is not None:
        made.live_last_time.CopyFrom(convert.timestamp(monitor.live_last_time))
    made.create_time.CopyFrom(convert.timestamp(monitor.create_time))
    if not monitor.paused:
        made.next_time.CopyFrom(convert.timestamp(monitor.next_time))
    if monitor.last_success_time is not None:
        made.last_success_time.CopyFrom(convert.timestamp(monitor.last_success_time))
    return made


def _measurement(one: Measurement) -> pb.Measurement:
    made = pb.Measurement(
        monitor_id=one.monitor_id,
        number=one.number,
        kind=one.kind.value,
        state=pb.MeasurementState.Value(f"MEASUREMENT_STATE_{one.state.name}"),
        outcome=one.outcome,
        baseline_number=one.baseline_number,
        p_value=one.result.get("p_value", 1.0),
        confirm_p_value=one.result.get("confirm_p_value", 1.0),
        by_topic={topic: pb.TopicValue(**found) for topic, found in one.result.get("by_topic", {}).items()},
        adapters=[pb.ServedAdapter(**found) for found in one.result.get("adapters", [])],
        message=one.message,
    )
    if "live" in one.result:
        made.live.CopyFrom(pb.LiveWindow(**one.result["live"]))
    made.fire_time.CopyFrom(convert.timestamp(one.fire_time))
    if one.end_time is not None:
        made.end_time.CopyFrom(convert.timestamp(one.end_time))
    return made


def _sample(sample: Sample) -> pb.MonitorSample:
    made = pb.MonitorSample(
        monitor_id=sample.monitor_id,
        number=sample.number,
        route_version=sample.route_version,
        request_id=sample.request_id,
        request=sample.request,
        answer=sample.answer,
        adapter=sample.adapter,
    )
    made.end_time.CopyFrom(convert.timestamp(sample.end_time))
    return made


def _alarm(alarm: Alarm) -> pb.MonitorAlarm:
    made = pb.MonitorAlarm(
        monitor_id=alarm.monitor_id,
        number=alarm.number,
        kind=alarm.kind.value,
        state=pb.AlarmState.Value(f"ALARM_STATE_{alarm.state.name}"),
        measurement_number=alarm.measurement_number,
        message=alarm.message,
        topics=alarm.topics,
        acknowledge_by=alarm.acknowledge_by,
        comment=alarm.comment,
        run_id=alarm.run_id,
        run_error=alarm.run_error,
    )
    for name in ("raise_time", "acknowledge_time", "clear_time"):
        if (time := getattr(alarm, name)) is not None:
            getattr(made, name).CopyFrom(convert.timestamp(time))
    return made
