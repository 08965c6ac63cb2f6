import subprocess
import sys
import time

import pytest
from opentelemetry import trace
from pydantic import ValidationError

from services.common import tracing
from services.common.settings import ServiceSettings
from tests.chaos.campaign.processes import free_port
from tests.fakes.spans import recorded


def test_tracing_without_an_endpoint_is_off_and_loads_no_sdk() -> None:
    code = (
        "import sys\nfrom services.common import tracing\n"
        "from services.common.settings import ServiceSettings\n"
        "started = tracing.start_tracing('x', ServiceSettings(port=0))\n"
        "with tracing.span('a') as span: assert not span.is_recording()\n"
        "assert not started.on and tracing.carrier() == {}\n"
        "started.close()\nprint('opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4317", "http://user:secret@host:4317", "ftp://host", "http://h/x"]
)
def test_tracing_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        ServiceSettings(port=0, tracing_endpoint=endpoint)


def test_run_has_one_trace_whose_ids_follow_from_its_own() -> None:
    with recorded() as seen:
        with tracing.step_span("r-1", 1, "uncover", "draw", {}), tracing.span("call"):
            pass
        tracing.tell_stage("r-1", 1, "uncover", 1_000, {})
        tracing.tell_run("r-1", 500, {"valign.run.status": "succeeded"})
        root, stage = seen.named("run")[0], seen.named("stage uncover")[0]
        step, call = seen.named("step draw")[0], seen.named("call")[0]
    assert root.parent is None
    assert root.start_time == 500
    for child, parent in ((stage, root), (step, stage), (call, step)):
        assert child.parent is not None
        assert child.parent.span_id == parent.context.span_id
    found = {trace.format_trace_id(span.context.trace_id) for span in (root, stage, step, call)}
    assert found == {tracing.run_trace_id("r-1")}
    assert tracing.run_trace_id("r-2") != tracing.run_trace_id("r-1")


def test_step_span_that_is_cancelled_is_not_told_and_one_that_fails_is() -> None:
    with recorded() as seen:
        with pytest.raises(KeyboardInterrupt), tracing.step_span("r-1", 1, "s", "cut", {}):
            raise KeyboardInterrupt
        with tracing.step_span("r-1", 1, "s", "bad", {}) as span:
            tracing.mark_error(span, "INTERNAL")
        assert [span.name for span in seen.spans()] == ["step bad"]
        assert not seen.named("step bad")[0].status.is_ok


def test_span_of_an_exception_has_its_class_and_not_its_text() -> None:
    with recorded() as seen:
        with pytest.raises(ValueError), tracing.span("a"):
            raise ValueError("the password is 1234")
        span = seen.spans()[0]
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "1234" not in span.to_json()


def test_sampling_keeps_or_drops_a_run_as_a_whole() -> None:
    kept = dropped = 0
    with recorded(ratio=0.5) as seen:
        for number in range(40):
            before = len(seen.spans())
            with tracing.step_span(f"r-{number}", 1, "s", "a", {}), tracing.span("call"):
                pass
            tracing.tell_run(f"r-{number}", 1, {})
            told = len(seen.spans()) - before
            assert told in (0, 3)
            kept, dropped = kept + (told == 3), dropped + (told == 0)
    assert kept > 5
    assert dropped > 5


def test_carrier_of_a_span_leads_back_to_it() -> None:
    with recorded() as seen:
        with tracing.span("near"):
            headers = tracing.carrier()
        with tracing.span("far", parent=tracing.context_from(headers)):
            pass
        far, near = seen.named("far")[0], seen.named("near")[0]
    assert far.parent is not None
    assert far.parent.span_id == near.context.span_id


@pytest.mark.parametrize("header", ["", "00-zz-1-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 100])
def test_context_from_a_stranger_s_header_is_empty_or_harmless(header: str) -> None:
    context = tracing.context_from({"traceparent": header})
    assert not trace.get_current_span(context).get_span_context().is_valid


def test_close_with_a_collector_that_is_away_takes_a_few_seconds() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    started = tracing.start_tracing("test", ServiceSettings(port=0, tracing_endpoint=endpoint))
    began = time.monotonic()
    for _ in range(5000):
        with tracing.span("a"):
            pass
    assert time.monotonic() - began < 5
    began = time.monotonic()
    started.close()
    assert time.monotonic() - began < 6
    assert not tracing.tracing_is_on()
