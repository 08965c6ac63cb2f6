"""Structured logs on stderr: one JSON object a line, or text for people. No line holds a secret."""

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace

from services.common.redact import redact, redacted


def configure_logging(service: str, level: str = "info", fmt: str = "json") -> None:
    """Send structlog and the standard library's loggers to stderr in one format.

    Args:
        service: put into every line as ``service``.
        level: least level, for example ``"info"``.
        fmt: ``"json"`` or ``"text"``.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        # Here and not bound to the context: threads of libraries have contexts of their own.
        _Named(service),
        add_trace,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor
    if fmt == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        # A plain trace: a rich one shows the locals, and breaks what is in them over lines.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )

    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_event,
                _Redacted(renderer),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Warnings of libraries would be bare text among the lines.
    logging.captureWarnings(True)
    # One line for every HTTP call of a client library would drown the service's own.
    for noisy in ("httpx", "httpcore", "urllib3", "filelock", "fsspec"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


class _Named:
    """Puts the service's name into each line."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(
        self, _logger: Any, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event.setdefault("service", self._service)
        return event


def add_trace(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put the ids of the current span into a line, if there is one, as traces have them (hex)."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event["trace_id"] = trace.format_trace_id(current.trace_id)
        event["span_id"] = trace.format_span_id(current.span_id)
    return event


def redact_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take secrets out of an event's fields, by their names and by their shape."""
    return {
        name: value if name == "exc_info" else redacted({name: value})[name] for name, value in event.items()
    }


class _Redacted:
    """A renderer whose line is looked through once more: traces and odd objects become text only there."""

    def __init__(self, renderer: structlog.typing.Processor) -> None:
        self._renderer = renderer

    def __call__(self, logger: Any, method: str, event: structlog.typing.EventDict) -> str:
        return redact(str(self._renderer(logger, method, event)))
