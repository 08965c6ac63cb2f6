"""Every line of every process is one JSON object that says where it belongs."""

import json
from typing import Any

import pytest

from services.common.tracing import run_trace_id
from tests.integration.observability.conftest import Story

SERVICES = ("generator", "embedder", "trainer", "orchestrator")


def lines(story: Story, service: str) -> list[dict[str, Any]]:
    """A process's log; ValueError if a line is no JSON."""
    text = (story.system.folder / f"{service}.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("service", SERVICES)
def test_log_lines_name_their_service(story: Story, service: str) -> None:
    found = lines(story, service)
    assert found
    for line in found:
        assert line["service"] == service, line
        assert {"event", "level", "timestamp", "logger"} <= line.keys(), line


@pytest.mark.parametrize("service", ["generator", "embedder", "trainer"])
def test_log_lines_of_a_run_s_calls_carry_its_id_and_trace(story: Story, service: str) -> None:
    ended = [line for line in lines(story, service) if line["event"] == "rpc.ended"]
    of_run = [line for line in ended if line.get("run_id") == story.run_id]
    assert of_run
    for line in of_run:
        assert line["trace_id"] == run_trace_id(story.run_id)
        assert len(line["span_id"]) == 16
        assert line["request_id"]


def test_log_lines_of_a_job_carry_the_run_that_asked_for_it(story: Story) -> None:
    jobs = [line for line in lines(story, "trainer") if line["event"] in ("job.started", "job.ended")]
    # Another module's run may have had jobs in the same trainer before.
    assert all(line["run_id"] for line in jobs)
    of_run = [line for line in jobs if line["run_id"] == story.run_id]
    assert {line["event"] for line in of_run} == {"job.started", "job.ended"}
    assert {line["trace_id"] for line in of_run} == {run_trace_id(story.run_id)}


def test_log_lines_of_a_request_carry_the_id_that_the_caller_gave(story: Story) -> None:
    asked = [line for line in lines(story, "orchestrator") if line.get("request_id") == "asked-by-a-test"]
    assert [line["event"] for line in asked if line["event"] == "http.ended"] == ["http.ended"]


def test_log_lines_of_the_loop_carry_the_run(story: Story) -> None:
    ended = [line for line in lines(story, "orchestrator") if line["event"] == "run.ended"]
    assert [line["run_id"] for line in ended] == [story.run_id]
    assert ended[0]["trace_id"] == run_trace_id(story.run_id)
