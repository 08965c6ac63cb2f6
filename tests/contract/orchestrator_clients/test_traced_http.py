"""HTTP calls to others carry the trace, and their spans do not say where exactly they went."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from services.common import tracing
from services.common.settings import ServiceSettings
from services.orchestrator.clients.traced_http import trace_http_calls
from tests.fakes.spans import recorded


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that notes the headers it is sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *said: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_calls_of_httpx_carry_the_trace_and_hide_paths() -> None:
    with recorded() as spans, listening() as (url, seen):
        trace_http_calls(spans.tracing)
        try:
            with tracing.span("around"):
                async with httpx.AsyncClient() as client:
                    await client.post(f"{url}/hooks/s3cret?token=hidden")
                with httpx.Client() as plain:
                    plain.post(f"{url}/hooks/s3cret?token=hidden")
        finally:
            HTTPXClientInstrumentor().uninstrument()
        around = spans.named("around")[0]
        calls = spans.named("POST")
    assert len(calls) == len(seen) == 2
    for call, headers in zip(calls, seen, strict=True):
        assert call.parent is not None
        assert call.parent.span_id == around.context.span_id
        assert headers["traceparent"].split("-")[1:3] == [
            f"{call.context.trace_id:032x}",
            f"{call.context.span_id:016x}",
        ]
        assert "s3cret" not in call.to_json()
        assert "hidden" not in call.to_json()
        assert url in call.to_json()


def test_settings_without_an_endpoint_trace_no_calls() -> None:
    assert not tracing.start_tracing("test", ServiceSettings(port=0)).on
