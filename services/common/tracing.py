"""OpenTelemetry traces: the provider of this process, and the one trace of a run.

Everything of a run is one trace, whichever process does it and however often it is resumed or retried: trace
id, root span, stage spans and step spans have ids that follow from the run's id. What a killed process was in
the middle of is told by the one that does it again, under the same id: no span lacks its parent.

Off unless ``tracing_endpoint`` is set; then spans are sent in batches from a thread of their own. A collector
that is away costs spans, never a call: the queue is bounded, and what does not fit is dropped. What these
settings do not say (headers, certificates, batches) the SDK reads from its own ``OTEL_*`` variables.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.settings import ServiceSettings

log = structlog.get_logger(__name__)

RUN_ID = "valign.run.id"

_EXPORT_S = 5.0
# A process that ends gives the collector this long for what it has not got yet.
_FLUSH_S = 3.0
_PROPAGATOR = TraceContextTextMapPropagator()

# Ids that the next span gets instead of random ones: (trace id, span id).
_chosen: ContextVar[tuple[int, int] | None] = ContextVar("chosen_span", default=None)


class Tracing:
    """The tracer provider of this process. ``OFF`` records nothing and sends nothing."""

    def __init__(self, provider: Any = None, exporter: Any = None, ratio: float = 0.0) -> None:
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer("valign") if provider else NoOpTracer()
        self._exporter = exporter
        self._ratio = ratio

    @property
    def on(self) -> bool:
        """Whether spans are recorded."""
        return self.provider is not None

    def samples(self, trace_id: int) -> bool:
        """Whether a trace with this id is kept: every process with the same ratio says the same."""
        if not self.on:
            return False
        from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

        told = TraceIdRatioBased(self._ratio).should_sample(None, trace_id, "run")
        return told.decision is Decision.RECORD_AND_SAMPLE

    def close(self) -> None:
        """Record no more, and send what is left, for a few seconds at most. Blocks."""
        global _current
        if self.provider is None:
            return
        if _current is self:
            _current = OFF
        ending = threading.Thread(target=self.provider.shutdown, name="valign-tracing-end", daemon=True)
        ending.start()
        ending.join(_FLUSH_S)
        if ending.is_alive():
            # Interrupts the exporter's pauses between two tries.
            self._exporter.shutdown()
            log.warning("tracing.not_sent", waited_s=_FLUSH_S)


OFF = Tracing()
_current: Tracing = OFF


def start_tracing(service: str, settings: ServiceSettings, exporter: Any = None) -> Tracing:
    """Record and send the spans of this process, if its settings name a collector. Once a process.

    Args:
        service: its name; spans come from ``valign-<service>``.
        settings: ``tracing_endpoint`` and ``tracing_sample_ratio``.
        exporter: where spans go instead of to the endpoint.
    """
    global _current
    if not settings.tracing_endpoint and exporter is None:
        return OFF
    # Half a second that only those pay who want traces.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    if exporter is None:
        exporter = OTLPSpanExporter(
            endpoint=settings.tracing_endpoint,
            timeout=_EXPORT_S,
            channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type]  # it says str, and means any
        )
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": f"valign-{service}", "service.namespace": "valign", "service.version": build()}
        ),
        sampler=ParentBased(TraceIdRatioBased(settings.tracing_sample_ratio)),
        id_generator=_ids(),
        # ``close`` does it, and not for as long as the SDK would.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _current = Tracing(provider, exporter, settings.tracing_sample_ratio)
    log.info("tracing.on", endpoint=settings.tracing_endpoint, ratio=settings.tracing_sample_ratio)
    return _current


def build() -> str:
    """The version of what runs here."""
    try:
        return version("valign")
    except PackageNotFoundError:
        return "0+unknown"


def tracer() -> Tracer:
    """What opens spans here."""
    return _current.tracer


def tracing_is_on() -> bool:
    """Whether this process records spans."""
    return _current.on


# What travels with a call


def carrier() -> dict[str, str]:
    """The current span as W3C trace context headers (https://www.w3.org/TR/trace-context/); may be empty."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


def context_from(headers: Mapping[str, str]) -> Context:
    """The context that ``carrier`` put into headers; an empty one for headers without it."""
    return _PROPAGATOR.extract(headers, Context())


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    start_ns: int | None = None,
) -> Iterator[Span]:
    """A span around the block, current in it; an exception makes it an error by its class, not its text."""
    with _current.tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=_known(attributes or {}),
        start_time=start_ns,
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except BaseException as error:
            mark_error(opened, type(error).__name__)
            raise


def mark_error(opened: Span, kind: str, message: str = "") -> None:
    """Make a span an error of a kind: a class, or a code of our table."""
    opened.set_attribute("error.type", kind)
    opened.set_status(Status(StatusCode.ERROR, message or kind))


# The trace of a run


def run_trace_id(run_id: str) -> str:
    """The id of a run's trace, 32 hex digits."""
    return f"{_run_ids(run_id)[0]:032x}"


def in_run(run_id: str) -> Context:
    """A context whose parent is the run's root span; an empty one where tracing is off."""
    return _under(run_id, _run_ids(run_id)[1])


def in_stage(run_id: str, attempt: int, stage: str) -> Context:
    """A context whose parent is the span of one stage of one attempt of a run."""
    return _under(run_id, _part_id(run_id, attempt, f"stage {stage}"))


@contextmanager
def within(context: Context) -> Iterator[None]:
    """Make a context current in the block."""
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def tell_run(run_id: str, start_ns: int, attributes: Mapping[str, Any], error: str = "") -> None:
    """The root span of a run that has just ended; it was created at ``start_ns``, in Unix nanoseconds."""
    _tell("run", _run_ids(run_id), Context(), start_ns, {RUN_ID: run_id, **attributes}, error)


def tell_stage(
    run_id: str, attempt: int, stage: str, start_ns: int, attributes: Mapping[str, Any], error: str = ""
) -> None:
    """The span of a stage that has just ended."""
    chosen = (_run_ids(run_id)[0], _part_id(run_id, attempt, f"stage {stage}"))
    told = {RUN_ID: run_id, "valign.run.attempt": attempt, "valign.stage": stage, **attributes}
    _tell(f"stage {stage}", chosen, in_run(run_id), start_ns, told, error)


@contextmanager
def step_span(
    run_id: str, attempt: int, stage: str, step: str, attributes: Mapping[str, Any]
) -> Iterator[Span]:
    """A span around a step, below its stage. A step that is cut (cancelled) is not told: it is done again."""
    if not _current.on:
        yield trace.INVALID_SPAN
        return
    chosen = (_run_ids(run_id)[0], _part_id(run_id, attempt, f"step {step}"))
    told = {RUN_ID: run_id, "valign.run.attempt": attempt, "valign.stage": stage, **attributes}
    opened = _start(f"step {step}", chosen, in_stage(run_id, attempt, stage), None, told)
    with trace.use_span(opened, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield opened
    opened.end()


def _start(
    name: str, chosen: tuple[int, int], parent: Context, start_ns: int | None, attributes: Mapping[str, Any]
) -> Span:
    token = _chosen.set(chosen)
    try:
        return _current.tracer.start_span(
            name, context=parent, start_time=start_ns, attributes=_known(attributes)
        )
    finally:
        _chosen.reset(token)


def _tell(
    name: str,
    chosen: tuple[int, int],
    parent: Context,
    start_ns: int,
    attributes: Mapping[str, Any],
    error: str,
) -> None:
    if not _current.on:
        return
    told = _start(name, chosen, parent, start_ns, attributes)
    if error:
        mark_error(told, error)
    told.end()


def _under(run_id: str, span_id: int) -> Context:
    if not _current.on:
        return Context()
    trace_id = _run_ids(run_id)[0]
    flags = TraceFlags(TraceFlags.SAMPLED if _current.samples(trace_id) else TraceFlags.DEFAULT)
    return trace.set_span_in_context(
        NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)), Context()
    )


def _run_ids(run_id: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"valign run {run_id}".encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


def _part_id(run_id: str, attempt: int, part: str) -> int:
    digest = hashlib.sha256(f"valign part {run_id} {attempt} {part}".encode()).digest()
    return int.from_bytes(digest[:8])


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class ChosenIds(RandomIdGenerator):
        """Random ids, but for the spans whose ids are chosen."""

        def generate_trace_id(self) -> int:
            chosen = _chosen.get()
            return chosen[0] if chosen else super().generate_trace_id()

        def generate_span_id(self) -> int:
            chosen = _chosen.get()
            return chosen[1] if chosen else super().generate_span_id()

    return ChosenIds()
