"""Between protobuf and the application's types."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2  # type: ignore[import-untyped]

from services.common.errors import InvalidInputError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.application import ServiceState
from services.orchestrator.assets import AssetRecord
from services.orchestrator.benchmarks import RulerRecord
from services.orchestrator.catalogue import ShippedStudy
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.governance import review_warnings
from services.orchestrator.listing import (
    DEFAULT_PAGE_SIZE,
    MAX_FILTER_CHARACTERS,
    AuditFilter,
    Page,
    RunFilter,
    Verdict,
    one_of,
)
from services.orchestrator.ports import CompletionRecord, EventRecord, RunRecord, RunStatus
from services.orchestrator.store.jsontext import finite
from services.orchestrator.study import prompt_set_digest
from services.orchestrator.values_training import ValuesJob

_STATUS = {
    RunStatus.QUEUED: pb.RUN_STATUS_QUEUED,
    RunStatus.RUNNING: pb.RUN_STATUS_RUNNING,
    RunStatus.SUCCEEDED: pb.RUN_STATUS_SUCCEEDED,
    RunStatus.FAILED: pb.RUN_STATUS_FAILED,
    RunStatus.CANCELLED: pb.RUN_STATUS_CANCELLED,
    RunStatus.PAUSED: pb.RUN_STATUS_PAUSED,
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
        cancel_requested=run.cancel_requested,
        pause_requested=run.pause_requested,
        attempt=run.attempt,
        created_by=run.created_by,
        etag=run.etag,
        progress={
            stage: pb.StageProgress(done=step["done"], total=step["total"])
            for stage, step in run.progress.items()
        },
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
        stakeholders_consulted=item.stakeholders_consulted,
        warnings=review_warnings(item),
        review_date=item.review_date,
    )


def prompt_set_to_pb(item: PromptSet) -> pb.PromptSetSummary:
    """A prompt set in short."""
    return pb.PromptSetSummary(
        id=item.id, version=item.version, title=item.title, sha256=prompt_set_digest(item)
    )


def study_to_pb(item: ShippedStudy) -> pb.StudySummary:
    """A shipped study in short."""
    return pb.StudySummary(id=item.id, title=item.title)


def principles_to_pb(records: Iterable[CompletionRecord]) -> Iterator[pb.ListPrinciplesResponse]:
    """The principles in messages of at most 256 and about 1 MiB; none for no principles."""
    made = (
        pb.Principle(
            arm=record.arm,
            topic_id=record.topic_id,
            index=record.index,
            draw=record.draw,
            principle=record.principle,
            adapter=record.adapter,
            adapter_sha256=record.adapter_sha256,
        )
        for record in records
    )
    for part in in_parts(made, lambda item: item.ByteSize()):
        yield pb.ListPrinciplesResponse(principles=part)


def asset_to_pb(record: AssetRecord) -> pb.Asset:
    """An asset."""
    return pb.Asset(
        sha256=record.sha256,
        kind=record.kind.value,
        name=record.name,
        size_bytes=record.size_bytes,
        create_time=timestamp(record.create_time),
    )


def ruler_to_pb(record: RulerRecord) -> pb.Ruler:
    """A ruler in short."""
    asset, facts = record.asset, record.facts
    return pb.Ruler(
        sha256=asset.sha256,
        name=asset.name,
        size_bytes=asset.size_bytes,
        create_time=timestamp(asset.create_time),
        run_id=facts.run_id,
        model=facts.model,
        encoder=facts.encoder,
        reference_set=facts.reference_set_id,
        prompt_set=facts.prompt_set_id,
        topics=[topic.id for topic in facts.topics],
        inputs=len(facts.inputs),
    )


def values_job_to_pb(job: ValuesJob) -> pb.ValuesJob:
    """The training of a head, or the measuring of a judge."""
    return pb.ValuesJob(
        id=job.id,
        kind=job.kind,
        name=job.name,
        state=job.state,
        stage=job.stage,
        done=job.done,
        total=job.total,
        error_code=job.error_code,
        error_message=job.error_message,
        sha256=job.sha256,
        evaluator=job.evaluator,
        fingerprint=job.fingerprint,
        labels=None if job.labels is None else struct(job.labels.model_dump(mode="json")),
        agreement=[struct(item.model_dump(mode="json")) for item in job.agreement],
        facts=struct(job.facts),
    )


def service_to_pb(state: ServiceState) -> pb.ServiceState:
    """A service as it was found."""
    facts = state.facts
    return pb.ServiceState(
        name=state.name,
        target=state.target,
        reachable=state.reachable,
        serving=facts.serving,
        model=facts.model,
        fingerprint=facts.fingerprint,
        version=facts.version,
        device=facts.device,
        latency_s=state.latency_s,
        error=state.error,
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


def moment(request: Any, name: str) -> datetime | None:
    """A field's time; None if it is not set. InvalidInputError for one that no calendar has."""
    if not request.HasField(name):
        return None
    try:
        found: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{name} is no time in the years 1 to 9999") from error
    return found


def etags(request: Any) -> tuple[str, ...] | None:
    """What a change expects; None for nothing. The tag of an HTTP answer is taken as well."""
    given = str(request.etag).strip('"')
    return (given, given.partition(".")[0]) if given else None


def run_filter(request: pb.ListRunsRequest) -> RunFilter:
    """Which runs are asked for."""
    return RunFilter(
        _filter(request.name, "name"),
        _filter(request.created_by, "created_by"),
        moment(request, "created_after"),
        moment(request, "created_before"),
        _filter(request.reference_set, "reference_set"),
        one_of(Verdict, request.verdict, "verdict"),
    )


def audit_filter(request: pb.ListAuditEntriesRequest) -> AuditFilter:
    """Which entries are asked for."""
    return AuditFilter(
        _filter(request.actor, "actor"),
        _filter(request.action, "action"),
        _filter(request.target_kind, "target_kind"),
        _filter(request.target, "target"),
        moment(request, "time_after"),
        moment(request, "time_before"),
    )


def page_of(request: Any) -> Page:
    """Which page is asked for."""
    return Page(request.page_size or DEFAULT_PAGE_SIZE, request.page_token)


def _filter(text: str, name: str) -> str:
    if len(text) > MAX_FILTER_CHARACTERS:
        raise InvalidInputError(
            f"{name} has {len(text)} characters; at most {MAX_FILTER_CHARACTERS} can match"
        )
    return text


def diff_request(request: pb.DiffReferenceSetsRequest) -> str:
    """The request as the JSON text that REST takes."""

    def source(side: pb.ReferenceSetSource) -> dict[str, str]:
        chosen = side.WhichOneof("source")
        return {} if chosen is None else {chosen: getattr(side, chosen)}

    return json.dumps({"old": source(request.old), "new": source(request.new)})
