"""Spans of HTTP calls to others (endpoints, webhooks, issuers), and the trace that travels with them."""

from typing import Any
from urllib.parse import urlsplit

from services.common.tracing import Tracing

_ADDRESSES = ("url.full", "http.url")


def trace_http_calls(tracing: Tracing) -> None:
    """From now on every httpx client of this process opens a span a call. Once a process."""
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    async def told_later(span: Any, request: Any) -> None:
        _hide_path(span, request)

    HTTPXClientInstrumentor().instrument(
        tracer_provider=tracing.provider, request_hook=_hide_path, async_request_hook=told_later
    )


def _hide_path(span: Any, request: Any) -> None:
    # Paths and queries of webhooks and endpoints can be secrets; where a call went is enough.
    parts = urlsplit(str(request.url))
    for name in _ADDRESSES:
        span.set_attribute(name, f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":"))
