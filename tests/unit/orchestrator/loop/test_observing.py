import asyncio
from typing import Any, cast

import pytest

from services.common.usage import Usage
from services.orchestrator.loop.clock import Ledger
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.observing import Observing
from services.orchestrator.loop.tally import Tally
from tests.fakes.spans import recorded


class Values:
    """What a step's observer asks of a run's context."""

    run_id, attempt = "r-1", 2

    class study:
        name = "observed-study"

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.tally = Tally()

    async def put_value(self, key: str, value: Any) -> None:
        self.kept[key] = value

    async def get_value(self, key: str) -> Any:
        return self.kept.get(key)


def test_step_adds_up_what_its_calls_cost_by_service() -> None:
    values = Values()
    with Observing(cast(RunContext, values)).step("draw", "uncover", None) as seen:
        seen.collect("valign.generator.v1.GeneratorService", Usage(1.0, 4.0))
        # Counted at once: the process may die before the step's end.
        assert (values.tally.total()["cpu_s"], values.tally.total()["gpu_s"]) == (1.0, 4.0)
        seen.collect("valign.generator.v1.GeneratorService", Usage(0.5, 1.0))
        seen.collect("valign.embedder.v1.EmbedderService", Usage(2.0))
        seen.ended("", {})
    assert seen.spent() == {"generator": {"cpu_s": 1.5, "gpu_s": 5.0}, "embedder": {"cpu_s": 2.0}}


def test_ledger_sums_costs_by_stage_and_in_all_and_takes_records_without_them() -> None:
    ledger = Ledger()
    ledger.add("uncover", 1.0, {}, {"generator": {"cpu_s": 1.0}})
    ledger.add("uncover", 1.0, {}, {"generator": {"cpu_s": 2.0, "gpu_s": 3.0}})
    ledger.add("judge", 1.0, {}, None)
    assert ledger.usage_of("uncover", {"generator": {"cpu_s": 0.5}}) == {
        "generator": {"cpu_s": 3.5, "gpu_s": 3.0}
    }
    assert ledger.usage_of("judge", {}) == {}
    assert ledger.usage_s() == {"generator": {"cpu_s": 3.0, "gpu_s": 3.0}}


async def test_stage_span_begins_where_another_process_began_the_stage() -> None:
    context = Values()
    with recorded() as seen:
        await Observing(cast(RunContext, context)).stage_began("uncover")
        await asyncio.sleep(0.01)
        # The process dies here; another one ends the stage.
        await Observing(cast(RunContext, context)).stage_ended("uncover", 1.0)
        span = seen.named("stage uncover")[0]
    assert span.start_time == context.kept["stage_began:2:uncover"]
    assert span.end_time is not None
    assert span.end_time - span.start_time >= 10_000_000


async def test_stage_of_a_failed_step_ends_as_an_error() -> None:
    observing = Observing(cast(RunContext, Values()))
    with recorded() as seen:
        await observing.stage_began("realign")
        with observing.step("train_1", "realign", 1) as step:
            step.ended("PRECONDITION", {})
        await observing.stage_ended("realign", None, "PRECONDITION")
        stage, failed = seen.named("stage realign")[0], seen.named("step train_1")[0]
    for span in (stage, failed):
        assert span.attributes is not None
        assert span.attributes["error.type"] == "PRECONDITION"
        assert not span.status.is_ok


async def test_observing_without_tracing_keeps_nothing() -> None:
    context = Values()
    await Observing(cast(RunContext, context)).stage_began("uncover")
    await Observing(cast(RunContext, context)).stage_ended("uncover", 1.0)
    assert context.kept == {}


@pytest.mark.parametrize("service", ["generator", "a.b"])
def test_cost_of_a_service_with_another_name_is_kept_under_it(service: str) -> None:
    with Observing(cast(RunContext, Values())).step("s", "uncover", None) as seen:
        seen.collect(service, Usage(1.0))
    assert seen.spent() == {service: {"cpu_s": 1.0}}
