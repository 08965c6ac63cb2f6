"""What a plan takes from past runs, and on what they ran."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.orchestrator.loop.tally import USED
from services.orchestrator.planning.hardware import GENERATED_ON, TRAINED_ON, Hardware
from services.orchestrator.planning.pace import pace_here
from services.orchestrator.planning.past import Past, past_of
from services.orchestrator.planning.speed import Speeds
from services.orchestrator.ports import RunStatus
from services.orchestrator.store.sql import SqlRunStore

STAGES = {
    "uncover": {"completions": 100, "completion_tokens": 2000, "generation_s": 10.0, "gpu_s": 58.0},
    "realign": {"completions": 10, "completion_tokens": 200, "generation_s": 2.0, "training_s": 30.0},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    made = SqlRunStore(f"sqlite:///{tmp_path}/runs.db")
    made.migrate()
    yield made
    made.close()


def add(store: SqlRunStore, run_id: str, model: str, **values: Any) -> None:
    store.create_run(run_id, "s", {"name": "s"})
    store.update_run(run_id, status=RunStatus.RUNNING)
    kept = {USED: {"stages": STAGES}, "served": {"generator": model}, "planned": {"slots": {"uncover": 80}}}
    for key, value in {**kept, **values}.items():
        store.put_value(run_id, key, value)
    store.update_run(run_id, status=RunStatus.SUCCEEDED)


def test_past_of_a_model_adds_its_runs_and_keeps_what_each_ran_on(store: SqlRunStore) -> None:
    add(store, "r-1", "mine")
    gpus = {"device": "cuda", "name": "NVIDIA L4"}
    add(store, "r-2", "mine", **{GENERATED_ON: {**gpus, "gpus": 2}, TRAINED_ON: {**gpus, "gpus": 4}})
    add(store, "r-3", "another")
    past = past_of(store, "mine")
    assert (past.runs, past.slots, past.drawn) == (2, 160, 200)
    assert (past.completion_tokens, past.draws_per_slot) == (20.0, 1.25)
    newest, oldest = past.measured
    # 58 GPU-seconds in 10 seconds, 2 GPUs an engine: three engines, of which some waited for the last texts.
    assert newest.generated_on == Hardware("cuda", "NVIDIA L4", 2, pytest.approx(2.9))
    assert newest.trained_on == Hardware("cuda", "NVIDIA L4", 4)
    assert newest.used["generation_s"] == 12.0
    assert (oldest.generated_on, oldest.trained_on) == (Hardware(), Hardware())


def test_past_of_no_model_is_none(store: SqlRunStore) -> None:
    assert past_of(store, "") == Past()


def test_pace_here_takes_no_run_that_ran_elsewhere(store: SqlRunStore) -> None:
    gpus = {"device": "cuda", "name": "NVIDIA L4", "gpus": 1}
    add(store, "r-1", "mine", **{GENERATED_ON: gpus, TRAINED_ON: {**gpus, "gpus": 4}})
    cpu = {"device": "cpu", "name": "", "gpus": 0}
    slow = {"uncover": {"completions": 100, "completion_tokens": 2000, "generation_s": 1000.0}}
    add(store, "r-2", "mine", **{GENERATED_ON: cpu, TRAINED_ON: cpu, USED: {"stages": slow}})
    past = past_of(store, "mine")
    on_gpus, used = pace_here(past, Hardware("cuda", "NVIDIA L4", 1))
    assert (on_gpus.completion_tokens_per_s, used["gpu_s"]) == (2200 / 12, 58.0)
    on_a_cpu, used = pace_here(past, Hardware("cpu"))
    assert (on_a_cpu.completion_tokens_per_s, on_a_cpu.trained_examples_per_s) == (2.0, None)
    nowhere, used = pace_here(past, Hardware("cuda", "NVIDIA H100", 1))
    assert nowhere == Speeds()
    assert used["gpu_s"] == 0
