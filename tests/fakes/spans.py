"""Tracing of this process into a list, for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.settings import ServiceSettings
from services.common.tracing import Tracing, start_tracing


class Recorded:
    """``spans()`` in the order in which they ended."""

    def __init__(self, tracing: Tracing, exporter: InMemorySpanExporter) -> None:
        self.tracing = tracing
        self._exporter = exporter

    def spans(self) -> list[ReadableSpan]:
        self.tracing.provider.force_flush()
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]


@contextmanager
def recorded(ratio: float = 1.0) -> Iterator[Recorded]:
    """Record what happens in the block."""
    exporter = InMemorySpanExporter()
    started = start_tracing("test", ServiceSettings(port=0, tracing_sample_ratio=ratio), exporter)
    try:
        yield Recorded(started, exporter)
    finally:
        started.close()
