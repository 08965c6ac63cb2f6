import json
import logging
import subprocess
import sys
from typing import Any

from services.common import tracing
from services.common.logs import add_trace
from tests.fakes.spans import recorded

_CODE = """
import logging, threading
from services.common.logs import configure_logging
import structlog
configure_logging("some-service", "info", "json")
log = structlog.get_logger("ours")
with structlog.contextvars.bound_contextvars(run_id="r-1", request_id="q-1"):
    log.info("bound", number=1)
    logging.getLogger("a.library").warning("said %s", "so")
# A thread of a library has a context of its own.
thread = threading.Thread(target=lambda: logging.getLogger("library").info("from a thread"))
thread.start(); thread.join()
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_log_lines_of_anybody_name_the_service_and_carry_what_is_bound() -> None:
    ours, library, thread, failed = lines()
    assert {line["service"] for line in (ours, library, thread, failed)} == {"some-service"}
    for line in (ours, library):
        assert (line["run_id"], line["request_id"]) == ("r-1", "q-1")
    assert library["event"] == "said so"
    assert "run_id" not in thread
    assert "ZeroDivisionError" in failed["exception"]


def test_log_line_within_a_span_has_its_ids() -> None:
    with recorded() as seen:
        with tracing.span("a"):
            line = add_trace(logging.getLogger(), "info", {"event": "x"})
        span = seen.spans()[0]
    assert line["trace_id"] == f"{span.context.trace_id:032x}"
    assert line["span_id"] == f"{span.context.span_id:016x}"
    assert "trace_id" not in add_trace(logging.getLogger(), "info", {"event": "x"})
