"""Plans of the template study: what fits, what does not, and where seconds come from."""

from pathlib import Path
from typing import Any

import pytest

from scripts.write_sizing_table import BEGIN, END, GUIDE, sizing_table
from services.common.errors import InvalidInputError
from services.orchestrator.planning.document import Plan, PlanRequest
from services.orchestrator.planning.past import Past
from services.orchestrator.planning.plan import Served, make_plan
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study, resolve

NOTHING, NOBODY = Past(), Served()


def plan(
    past: Past = NOTHING, served: Served = NOBODY, study: dict[str, Any] | None = None, **asked: Any
) -> Plan:
    resolved = resolve(Study.model_validate({"name": "s", **(study or {})}))
    return make_plan(PlanRequest(study="", **asked), resolved, Given(), past, served)


def test_plan_without_shape_counts_and_says_what_it_does_not_estimate() -> None:
    found = plan()
    assert found.fits
    assert found.memory == ()
    # 6 topics x 100: 60 train, 20 validation, 20 test each; 5 iterations of 90 x 5 steps, and of 5 arms.
    assert found.stages[0].expected.completions == 1200
    assert found.expected.training_steps == 5 * 450 * 6
    assert not found.seconds.complete
    assert any("Memory is not estimated" in sentence for sentence in found.assumptions)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"shape": "70b", "device": "h100"}, "generation needs"),
        ({"shape": "8b", "device": "l4"}, "training needs"),
        ({"shape": "8b", "device": "h100", "gpus": 3}, "cannot be shared by 3 GPUs"),
        ({"max_model_len": 128}, "max_model_len 128"),
        ({"max_lora_rank": 8}, "lora.rank 16"),
        ({"study": {"training": {"max_length": 128}}}, "training.max_length 128"),
        ({"study": {"budget": {"max_tokens": 1000}}}, "budget.max_tokens is 1,000"),
    ],
)
def test_plan_what_does_not_fit_is_said(asked: dict[str, Any], word: str) -> None:
    found = plan(**asked)
    assert not found.fits
    assert any(word in sentence for sentence in found.problems), found.problems


@pytest.mark.parametrize(
    "asked",
    [
        {"shape": "70b", "device": "h100", "gpus": 4, "training_gpus": 4, "sharding": "full"},
        {"shape": "8b", "device": "l4", "checkpointing": True, "training_bits": 4},
    ],
)
def test_plan_the_remedy_of_a_misfit_makes_it_fit(asked: dict[str, Any]) -> None:
    assert plan(**asked).problems == ()


def test_plan_takes_past_runs_before_the_data_sheet_and_the_request_before_both() -> None:
    used = {"completions": 100.0, "prompt_tokens": 0, "completion_tokens": 2000.0, "generation_s": 10.0}
    past = Past(runs=2, used={**used, "scores": 0.0}, slots=80, drawn=100)
    found = plan(past, shape="8b", device="h100", scores_per_s=5.0)
    sources = {speed.what: (speed.per_s, speed.source) for speed in found.speeds}
    assert sources["completion_tokens_per_s"] == (200.0, "past runs")
    assert sources["scores_per_s"] == (5.0, "given")
    assert sources["trained_examples_per_s"][1] == "data sheet"
    # 1,200 slots at 1.25 draws of 20 tokens.
    assert found.stages[0].expected.completions == 1500
    assert found.stages[0].expected.completion_tokens == 30_000
    assert found.stages[0].at_most.completions == 6000


def test_plan_generator_that_serves_gives_its_limits() -> None:
    assert not plan(served=Served(max_model_len=64, max_lora_rank=64)).fits


def test_plan_unknown_device_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="h200"):
        plan(device="tpu")


def test_sizing_table_in_the_guide_is_the_one_that_the_code_gives() -> None:
    text = Path(GUIDE).read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == sizing_table()
