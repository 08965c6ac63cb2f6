"""Plans of the template study: what fits, what does not, and where seconds come from."""

from pathlib import Path
from typing import Any

import pytest

from scripts.write_sizing_table import BEGIN, END, GUIDE, sizing_table
from services.common.errors import InvalidInputError
from services.orchestrator.planning.devices import DEVICES
from services.orchestrator.planning.document import Plan, PlanRequest
from services.orchestrator.planning.hardware import Hardware
from services.orchestrator.planning.past import Measured, Past
from services.orchestrator.planning.plan import Served, make_plan
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study, resolve

NOTHING, NOBODY = Past(), Served()


def plan(
    past: Past = NOTHING,
    served: Served = NOBODY,
    study: dict[str, Any] | None = None,
    window: int = 0,
    **asked: Any,
) -> Plan:
    resolved = resolve(Study.model_validate({"name": "s", **(study or {})}))
    return make_plan(PlanRequest(study="", **asked), resolved, Given(), past, served, window)


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
        ({"shape": "8b", "pipeline_gpus": 64}, "32 layers cannot be shared by a pipeline of 64"),
        ({"training_gpus": 64}, "60 of 64 GPUs of a training job would have no example"),
        ({"training_bits": 4, "sharding": "full"}, "does not divide a base in 4 bits: take sharding ddp"),
        ({"training_bits": 4, "sharding": "fsdp2"}, "does not divide a base in 4 bits: take sharding ddp"),
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
        {"shape": "70b", "device": "h100", "pipeline_gpus": 4, "training_gpus": 4, "sharding": "fsdp2"},
        {"shape": "8b", "device": "l4", "checkpointing": True, "training_bits": 4},
    ],
)
def test_plan_the_remedy_of_a_misfit_makes_it_fit(asked: dict[str, Any]) -> None:
    assert plan(**asked).problems == ()


USED = {
    **{"completions": 100.0, "completion_tokens": 2000.0, "generation_s": 10.0, "scores": 0.0},
    **{"trained_examples": 90.0, "training_s": 900.0},
}
ON_CPU = Past((Measured(USED, Hardware("cpu"), Hardware("cpu")),), slots=80, drawn=100)
H100 = "NVIDIA H100 80GB HBM3"
ON_H100S = Past((Measured(USED, Hardware("cuda", H100, 2, 3.8), Hardware("cuda", H100, 4)),), 80, 100)
SHARED = {"shape": "8b", "device": "h100", "gpus": 2, "replicas": 4, "training_gpus": 4}


def sources(found: Plan) -> dict[str, tuple[float, str]]:
    return {speed.what: (speed.per_s, speed.source) for speed in found.speeds}


def test_plan_takes_past_runs_before_the_data_sheet_and_the_request_before_both() -> None:
    found = plan(ON_H100S, **SHARED, scores_per_s=5.0)
    assert sources(found)["completion_tokens_per_s"] == (200.0, "past runs")
    assert sources(found)["scores_per_s"] == (5.0, "given")
    assert sources(found)["trained_examples_per_s"] == (0.1, "past runs")
    assert f"Generation: 1 past run of this model on 2 x {H100}, 4 engines tells how fast it is." in (
        found.assumptions
    )
    # 1,200 slots at 1.25 draws of 20 tokens.
    assert found.stages[0].expected.completions == 1500
    assert found.stages[0].expected.completion_tokens == 30_000
    assert found.stages[0].at_most.completions == 6000


@pytest.mark.parametrize(
    ("past", "asked", "length", "draws"),
    [
        (ON_CPU, {}, "20 tokens (1 past run)", "1.25 draws (1 past run)"),
        (ON_CPU, {"completion_tokens": 30}, "30 tokens (the request)", "1.25 draws (1 past run)"),
        (Past(ON_CPU.measured * 2, 80, 80), {}, "20 tokens (2 past runs)", "1.00 draws (2 past runs)"),
        (Past(), {"completion_tokens": 30}, "30 tokens (the request)", "1.00 draws (no past run"),
        (
            ON_CPU,
            {"completion_tokens": 9000},
            "96 tokens (the request: 9000, of which the study allows no more)",
            "1.25 draws (1 past run)",
        ),
    ],
)
def test_plan_names_who_says_how_long_a_completion_is_and_how_many_draws_it_takes(
    past: Past, asked: dict[str, Any], length: str, draws: str
) -> None:
    found = plan(past, **asked).assumptions
    assert any(s.startswith(f"A completion has {length}") for s in found), found
    assert any(s.startswith(f"A slot takes {draws}") for s in found), found


def test_plan_with_a_speed_that_is_given_does_not_say_that_past_runs_tell_it() -> None:
    speeds = {"completion_tokens_per_s": 7.0, "trained_examples_per_s": 3.0}
    for asked in ({}, SHARED):
        for past in (ON_CPU, ON_H100S):
            found = plan(past, **asked, **speeds).assumptions
            assert not any(s.startswith(("Generation:", "Training:")) for s in found), found
    found = plan(Past(ON_H100S.measured * 2), **SHARED, completion_tokens_per_s=7.0).assumptions
    assert [s for s in found if "how fast it is" in s] == [
        f"Training: 2 past runs of this model on 4 x {H100} tell how fast it is."
    ]


@pytest.mark.parametrize(
    ("past", "asked", "generation", "training"),
    [
        (ON_CPU, SHARED, "data sheet", "data sheet"),
        (ON_H100S, {**SHARED, "device": "h200"}, "data sheet", "data sheet"),
        (ON_H100S, {**SHARED, "gpus": 4}, "data sheet", "past runs"),
        (ON_H100S, {**SHARED, "copies": 2}, "data sheet", "past runs"),
        (ON_H100S, {**SHARED, "gpus": 1, "pipeline_gpus": 2}, "past runs", "past runs"),
        (ON_H100S, {**SHARED, "replicas": 2}, "data sheet", "past runs"),
        (ON_H100S, {**SHARED, "training_gpus": 2}, "past runs", "data sheet"),
        (ON_H100S, {**SHARED, "device": "", "device_memory_gib": 79.2}, "past runs", "past runs"),
        (ON_CPU, {"device_memory_gib": 79.2}, None, None),
        (ON_CPU, {}, "past runs", "past runs"),
        (ON_CPU, {"replicas": 4}, None, "past runs"),
        (ON_CPU, {"training_gpus": 2}, "past runs", None),
    ],
)
def test_plan_takes_measured_speeds_only_of_the_same_hardware(
    past: Past, asked: dict[str, Any], generation: str | None, training: str | None
) -> None:
    found = plan(past, **asked)
    kinds = {what: source for what, (_, source) in sources(found).items()}
    assert kinds.get("completion_tokens_per_s") == generation
    assert kinds.get("trained_examples_per_s") == training
    for what, source in (("Generation", generation), ("Training", training)):
        word = "how fast it is" if source == "past runs" else "not taken"
        assert any(s.startswith(f"{what}: 1 past run") and word in s for s in found.assumptions)


def test_plan_without_device_takes_runs_on_what_serves_now_and_never_mixes_two() -> None:
    fast = {**USED, "generation_s": 1.0}
    cpu, gpu = Hardware("cpu"), Hardware("cuda", H100, 1, 1.0)
    past = Past((Measured(fast, gpu, gpu), Measured(USED, cpu, cpu), Measured(fast, gpu, gpu)), 80, 80)
    assert sources(plan(past))["completion_tokens_per_s"] == (2000.0, "past runs")
    assert sources(plan(past, Served(device="cpu")))["completion_tokens_per_s"] == (200.0, "past runs")
    assert sources(plan(past, Served(device="cuda")))["completion_tokens_per_s"] == (2000.0, "past runs")
    assert sources(plan(past))["trained_examples_per_s"] == (0.1, "past runs")


@pytest.mark.parametrize(
    ("name", "driver", "same"),
    [
        ("h100", "NVIDIA H100 80GB HBM3", True),
        ("h200", "NVIDIA GH200 480GB", False),
        ("l4", "NVIDIA L40S", False),
        ("a100-80", "NVIDIA A100-SXM4-80GB", True),
        ("a100-80", "NVIDIA A100 80GB PCIe", True),
        ("a100-40", "NVIDIA A100-SXM4-80GB", False),
        ("h100", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", False),
        ("h100", "", False),
    ],
)
def test_device_is_known_by_the_name_that_its_driver_gives(name: str, driver: str, same: bool) -> None:
    assert DEVICES[name].is_called(driver) is same


def test_plan_more_training_gpus_than_examples_of_a_step_are_no_faster() -> None:
    counts = (1, 2, 3, 4, 64)
    seconds = {n: plan(shape="8b", device="h100", training_gpus=n).seconds.training for n in counts}
    # A batch of 4: three workers have two examples in one of them, as two have in both.
    assert seconds[2] == seconds[3]
    assert seconds[4] == seconds[64]
    assert seconds[1] == pytest.approx(4 * (seconds[4] or 0), rel=1e-3)


def test_plan_copies_and_pipeline_are_gpus_of_an_engine() -> None:
    one, two = plan(shape="8b", device="h100"), plan(shape="8b", device="h100", copies=2)
    (memory,) = [need for need in two.memory if need.what == "generation"]
    assert (memory.gpus, memory.sequences) == (2, 2 * (one.memory[0].sequences or 0))
    assert memory.needed_gib == one.memory[0].needed_gib
    assert one.seconds.generation == pytest.approx(2 * (two.seconds.generation or 0), rel=1e-3)
    assert one.gpu_s == pytest.approx(two.gpu_s, rel=1e-3)
    halves = plan(shape="8b", device="h100", pipeline_gpus=2).memory[0]
    # Each half has one of the two embeddings.
    assert halves.parts["weights"] == pytest.approx(one.memory[0].parts["weights"] / 2, rel=1e-3)
    assert halves.parts["cache of one sequence"] == pytest.approx(
        one.memory[0].parts["cache of one sequence"] / 2, abs=1e-3
    )


def test_plan_generator_that_serves_gives_its_limits() -> None:
    assert not plan(served=Served(max_model_len=64, max_lora_rank=64)).fits


def test_plan_unknown_device_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="h200"):
        plan(device="tpu")


def test_sizing_table_in_the_guide_is_the_one_that_the_code_gives() -> None:
    text = Path(GUIDE).read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == sizing_table()


COPIES = {"shape": "8b", "device": "h100", "copies": 4, "max_num_seqs": 64}


def _tokens_per_s(found: Plan) -> float:
    return next(one.per_s for one in found.speeds if one.what == "completion_tokens_per_s")


def test_plan_copies_beyond_the_window_promises_what_dispatch_fills_and_says_so() -> None:
    narrow, wide = (plan(window=window, replicas=2, **COPIES) for window in (64, 256))
    assert _tokens_per_s(narrow) < _tokens_per_s(wide) == _tokens_per_s(plan(replicas=2, **COPIES))
    assert _tokens_per_s(narrow) == _tokens_per_s(plan(replicas=2, **{**COPIES, "max_num_seqs": 16}))
    assert any("256 sequences at once and is given 64" in said for said in narrow.assumptions)
    assert any("GENERATOR_WINDOW" in said for said in narrow.assumptions)
    assert not any("GENERATOR_WINDOW" in said for said in wide.assumptions)
    assert any("given 256" in said and "MAX_IN_FLIGHT" in said for said in wide.assumptions)


def test_plan_one_engine_is_given_everything_whatever_the_window() -> None:
    found = plan(window=64, **COPIES)
    assert _tokens_per_s(found) == _tokens_per_s(plan(**COPIES))
    assert any("MAX_IN_FLIGHT" in said for said in found.assumptions)


def test_plan_measured_speed_says_nothing_of_windows() -> None:
    found = plan(window=64, replicas=2, completion_tokens_per_s=5.0, **COPIES)
    assert not any("WINDOW" in said or "MAX_IN_FLIGHT" in said for said in found.assumptions)
