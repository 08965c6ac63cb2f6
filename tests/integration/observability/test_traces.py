"""One trace a run, over four processes and a restart; nothing depends on the collector."""

import time
from collections import Counter

import pytest

from services.common.tracing import run_trace_id
from tests.chaos.campaign.processes import free_port, until
from tests.fakes.collector import SeenSpan
from tests.integration.observability.conftest import Story

SERVER, CLIENT = 2, 3
# Spans are sent each 0.2 s, on a machine that has other work.
UNSENT_NS = 1_500_000_000


@pytest.fixture(scope="session")
def trace(story: Story) -> list[SeenSpan]:
    """The spans of the run's trace, once its root has come."""
    wanted = run_trace_id(story.run_id)

    def spans() -> list[SeenSpan]:
        found = [span for span in story.collector.spans if span.trace_id == wanted]
        return found if any(span.name == "run" for span in found) else []

    until(spans, 30, "the root span")
    # The other services send theirs by their own clocks.
    time.sleep(1.0)
    return spans()


def test_trace_of_a_run_has_spans_of_all_four_services(trace: list[SeenSpan]) -> None:
    found = {span.service for span in trace}
    assert found == {f"valign-{name}" for name in ("orchestrator", "generator", "embedder", "trainer")}


def test_trace_of_a_run_has_one_root_and_stages_below_it(trace: list[SeenSpan], story: Story) -> None:
    roots = [span for span in trace if not span.parent_id]
    assert [span.name for span in roots] == ["run"]
    assert roots[0].attributes["valign.run.id"] == story.run_id
    assert roots[0].attributes["valign.run.status"] == "succeeded"
    stages = {span.attributes["valign.stage"]: span for span in trace if span.name.startswith("stage ")}
    assert {"prepare", "uncover", "quantify", "analyse", "realign", "judge", "report"} <= stages.keys()
    for stage in stages.values():
        assert stage.parent_id == roots[0].span_id
        assert roots[0].start_ns <= stage.start_ns <= stage.end_ns <= roots[0].end_ns


def test_trace_of_a_run_that_was_resumed_has_every_step_once(trace: list[SeenSpan], story: Story) -> None:
    """What is missing is what the killed process had open, or ended and had not sent yet."""
    known = {span.span_id for span in trace}
    assert len(known) == len(trace)
    orphans = [span for span in trace if span.parent_id and span.parent_id not in known]
    assert all(span.start_ns < story.killed_ns for span in orphans), orphans
    # Its own calls lie below the step that it had open; those of others below its calls of the last moment.
    ours = [span for span in orphans if span.service == "valign-orchestrator"]
    assert {span.kind for span in ours} <= {CLIENT}
    assert len({span.parent_id for span in ours}) <= 1, ours
    theirs = [span for span in orphans if span not in ours]
    assert {span.kind for span in theirs} <= {SERVER}
    assert all(span.end_ns > story.killed_ns - UNSENT_NS for span in theirs), theirs
    starts = Counter(span.name for span in trace if span.name.startswith("step "))
    assert set(starts.values()) == {1}, starts
    # Both processes took part: steps before the kill, and steps after it.
    assert {"step uncover_originals", "step judge_best", "step report"} <= starts.keys()
    assert {span.start_ns < story.killed_ns for span in trace if span.name in starts} == {True, False}


@pytest.mark.parametrize(
    ("rpc", "service"),
    [
        ("valign.generator.v1.GeneratorService/Generate", "generator"),
        ("valign.embedder.v1.EmbedderService/Embed", "embedder"),
        ("valign.trainer.v1.TrainerService/StartTraining", "trainer"),
    ],
)
def test_trace_server_spans_lie_below_client_spans_of_steps(
    trace: list[SeenSpan], rpc: str, service: str, story: Story
) -> None:
    by_id = {span.span_id: span for span in trace}
    served = [span for span in trace if span.name == rpc and span.kind == SERVER and span.parent_id in by_id]
    whole = 0
    for span in served:
        asked = by_id[span.parent_id]
        assert span.service == f"valign-{service}"
        assert (asked.name, asked.kind, asked.service) == (rpc, CLIENT, "valign-orchestrator")
        if asked.parent_id in by_id:
            assert by_id[asked.parent_id].name.startswith("step ")
            whole += 1
        else:
            # The step had ended just before its process was killed: kept, but its span not yet sent.
            assert asked.start_ns < story.killed_ns
    assert whole


def test_trace_generation_spans_follow_the_genai_conventions(trace: list[SeenSpan], story: Story) -> None:
    chats = [span for span in trace if span.attributes.get("gen_ai.operation.name") == "chat"]
    assert len(chats) > 20
    for span in chats:
        told = span.attributes
        assert span.name == f"chat {told['gen_ai.request.model']}"
        assert told["gen_ai.provider.name"] == "vllm"
        if not span.is_error:
            assert told["gen_ai.response.model"] == told["gen_ai.request.model"]
            assert told["gen_ai.usage.input_tokens"] == 10
            assert told["gen_ai.usage.output_tokens"] == 12
            assert told["gen_ai.response.finish_reasons"] == ["stop"]
    models = {span.attributes["gen_ai.request.model"] for span in chats}
    assert "fake/model" in models
    assert any(name.startswith(f"{story.run_id}-i1-") for name in models)


def test_trace_without_the_setting_holds_no_text_of_a_prompt(trace: list[SeenSpan]) -> None:
    for span in trace:
        assert "gen_ai.input.messages" not in span.attributes
        assert not any("You shall tell the truth" in str(value) for value in span.attributes.values())


def test_trace_has_spans_of_training_and_embedding(trace: list[SeenSpan], story: Story) -> None:
    trained = [span for span in trace if span.name == "training"]
    assert trained
    assert all(span.service == "valign-trainer" for span in trained)
    assert all(span.attributes["valign.run.id"] == story.run_id for span in trained)
    assert {span.attributes["valign.job.state"] for span in trained} == {"succeeded"}
    embedded = [span for span in trace if span.name == "embeddings fake/encoder"]
    assert sum(span.attributes["valign.embeddings.texts"] for span in embedded) > 0


def test_request_with_a_trace_of_its_own_is_continued(story: Story) -> None:
    asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    story.system.api("GET", "/v1/reference-sets", headers={"traceparent": asked})

    def seen() -> list[SeenSpan]:
        return [span for span in story.collector.spans if span.trace_id == asked[3:35]]

    span = until(seen, 10, "the request's span")[0]
    assert span.parent_id == "b7ad6b7169203331"
    assert span.attributes["http.route"] == "/v1/reference-sets"
    assert span.attributes["http.response.status_code"] == 200


def test_collector_that_is_away_costs_no_run_and_no_time(story: Story) -> None:
    system = story.system
    away = system.orchestrator("orchestrator-unheard", f"http://127.0.0.1:{free_port()}")
    try:
        away.start()
        away.wait_ready()
        run_id = system.begin("orchestrator-unheard", iterations=1, principles=4)
        assert system.until_ended(run_id, "orchestrator-unheard")["status"] == "succeeded"
        assert away.process is not None
        began = time.monotonic()
        away.process.terminate()
        assert away.process.wait(30) == 0
        # Three seconds are for the collector, the rest is what an orchestrator takes to stop.
        assert time.monotonic() - began < 12
    finally:
        away.stop()
    assert run_trace_id(run_id) not in {
        span.trace_id for span in story.collector.spans if span.service == "valign-orchestrator"
    }
