"""Between protobuf and the application's types."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2  # type: ignore[import-untyped]

from services.common.errors import InvalidInputError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.ports import EventRecord, RunRecord, RunStatus
from services.orchestrator.store.jsontext import finite

_STATUS = {
    RunStatus.QUEUED: pb.RUN_STATUS_QUEUED,
    RunStatus.RUNNING: pb.RUN_STATUS_RUNNING,
    RunStatus.SUCCEEDED: pb.RUN_STATUS_SUCCEEDED,
    RunStatus.FAILED: pb.RUN_STATUS_FAILED,
    RunStatus.CANCELLED: pb.RUN_STATUS_CANCELLED,
}
_FROM_STATUS: dict[int, RunStatus] = {int(value): status for status, value in _STATUS.items()}


def run_to_pb(run: RunRecord) -> pb.Run:
    """A run."""
    return pb.Run(
        run_id=run.run_id,
        name=run.name,
        status=_STATUS[run.status],
        stage=run.stage,
        identity=run.identity,
        create_time=timestamp(run.create_time),
        end_time=None if run.end_time is None else timestamp(run.end_time),
        error_code=run.error_code,
        error_message=run.error_message,
    )


def event_to_pb(event: EventRecord) -> pb.WatchRunResponse:
    """An event."""
    return pb.WatchRunResponse(
        number=event.number, time=timestamp(event.time), kind=event.kind, data=struct(event.data)
    )


def reference_set_to_pb(item: ReferenceSet) -> pb.ReferenceSetSummary:
    """A reference set in short."""
    return pb.ReferenceSetSummary(
        id=item.id,
        version=item.version,
        title=item.title,
        steward=item.steward,
        review_date=item.review_date,
    )


def status_from_pb(value: int) -> RunStatus | None:
    """The status to filter by; None for unspecified. InvalidInputError for a number of a later version."""
    if value == pb.RUN_STATUS_UNSPECIFIED:
        return None
    if value not in _FROM_STATUS:
        raise InvalidInputError(f"status {value} is not known; known are {sorted(_FROM_STATUS)}")
    return _FROM_STATUS[value]


def struct(data: Mapping[str, Any]) -> struct_pb2.Struct:
    """JSON-able data; every number becomes a double, and those that are not finite null."""
    message = struct_pb2.Struct()
    message.update(finite(data))
    return message


def timestamp(time: datetime) -> timestamp_pb2.Timestamp:
    """An aware datetime."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(time)
    return message
