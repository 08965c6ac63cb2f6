"""One span a request for text, by the conventions that ``generator.spans`` names.

All that is known is put on it when the request ends. No text of a caller's stands in it: no prompt, no
answer, no stop sequence; only the model's name, numbers, and why it ended.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from opentelemetry.trace import Span, SpanKind

from services.common import tracing
from services.generator.serving.exchange import Exchange
from services.generator.spans import PROVIDER

OPERATIONS = {"chat": "chat", "completions": "text_completion"}
"""The face's operations that have a span, and the conventions' names of them."""

_MOST_NAME = 200
# A collector's protocol has signed 64 bits; one number beyond them would lose a whole batch of spans.
_LEAST, _MOST = -(2**63), 2**63 - 1


@dataclass(slots=True)
class Ending:
    """What became of a request.

    Attributes:
        body: as it was asked; None if it was never read.
        exchange: None if its model was not found.
        answered_by: the adapter, or the base model's public name.
        status: what was sent; None if nothing was.
        left: the caller had gone.
    """

    body: Mapping[str, Any] | None
    exchange: Exchange | None
    answered_by: str
    status: int | None
    left: bool


def request_span(operation: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Span]:
    """A server's span around a request; it goes on with the caller's trace, if ``traceparent`` names one."""
    given = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    attributes = {"gen_ai.operation.name": OPERATIONS[operation], "gen_ai.provider.name": PROVIDER}
    return tracing.span(
        OPERATIONS[operation], attributes, kind=SpanKind.SERVER, parent=tracing.context_from(given)
    )


def tell(span: Span, operation: str, ending: Ending) -> None:
    """Put what became of the request on its span."""
    if not span.is_recording():
        return
    found = _asked(ending.body or {})
    exchange = ending.exchange
    if exchange is not None:
        # Names that are not there are strangers' texts: they stand in an attribute, and name no span.
        span.update_name(f"{OPERATIONS[operation]} {found['gen_ai.request.model']}")
        found["valign.adapter.sha256"] = exchange.hold.lease.sha256 or None
        found["valign.route"] = exchange.route or None
        if ending.status == HTTPStatus.OK:
            found["gen_ai.response.model"] = ending.answered_by
        found |= _told(exchange)
    found["http.response.status_code"] = ending.status
    span.set_attributes({name: value for name, value in found.items() if value is not None})
    error = _error(ending)
    if error:
        tracing.mark_error(span, error)


def _asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request's parameters, those of them that are what they should be."""
    model = body.get("model")
    limit = body.get("max_completion_tokens")
    count = _whole(body.get("n"))
    return {
        "gen_ai.request.model": _clean(model) if isinstance(model, str) else None,
        "gen_ai.request.temperature": _real(body.get("temperature")),
        "gen_ai.request.top_p": _real(body.get("top_p")),
        "gen_ai.request.top_k": _whole(body.get("top_k")),
        "gen_ai.request.max_tokens": _whole(body.get("max_tokens") if limit is None else limit),
        "gen_ai.request.seed": _whole(body.get("seed")),
        "gen_ai.request.frequency_penalty": _real(body.get("frequency_penalty")),
        "gen_ai.request.presence_penalty": _real(body.get("presence_penalty")),
        "gen_ai.request.choice.count": count if count != 1 else None,
        "gen_ai.request.stream": True if body.get("stream") is True else None,
    }


def _told(exchange: Exchange) -> dict[str, Any]:
    """Tokens and reasons, if the engine has told them of every prompt."""
    parts = exchange.parts
    if not parts or not all(part.ended for part in parts):
        return {}
    reasons = tuple(part.reasons[index] for part in parts for index in sorted(part.reasons))
    return {
        "gen_ai.usage.input_tokens": sum(part.prompt_tokens for part in parts),
        "gen_ai.usage.output_tokens": sum(part.generated_tokens for part in parts),
        "gen_ai.response.finish_reasons": reasons or None,
    }


def _error(ending: Ending) -> str:
    if ending.left:
        # As the metric and the log have it.
        return "499"
    if ending.status is not None and ending.status >= HTTPStatus.BAD_REQUEST:
        return str(ending.status)
    # A stream that broke had said 200 before.
    parts = ending.exchange.parts if ending.exchange else []
    return next((part.error for part in parts if part.error), "")


def _clean(name: str) -> str:
    """Without halves of characters, which no collector takes."""
    return name[:_MOST_NAME].encode("utf-8", "replace").decode()


def _whole(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and _LEAST <= value <= _MOST
    return value if fits else None


def _real(value: Any) -> float | None:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    whole = _whole(value)
    return None if whole is None else float(whole)
