"""Where a retry begins once a budget has stopped a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.budget import STOPPED
from services.orchestrator.ports import RunStatus, StepRecord
from services.orchestrator.steering import Steering
from tests.fakes.orchestrator import World, world

STUDY: dict[str, Any] = {"name": "demo", "budget": {"max_training_steps": 100}}
STOP = {"step": "budget_train_2", "limit": "max_training_steps", "allowed": 100, "used": 80, "needed": 40}
BEFORE = [StepRecord(1, "prepare"), StepRecord(2, "train_1"), StepRecord(3, "budget_train_2")]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def stopped(here: World, status: RunStatus, *later: StepRecord) -> Steering:
    """A run that its budget stopped before a second training, and how it ended after."""
    here.store.create_run("r-1", "demo", STUDY)
    here.store.put_value("r-1", STOPPED, STOP)
    here.steps.recorded["r-1"] = [*BEFORE, *later]
    here.store.change_status("r-1", RunStatus.RUNNING, "run.started")
    here.store.change_status("r-1", status, f"run.{status.value}")
    return Steering(here.store, here.queue, here.steps)


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED])
async def test_retry_of_what_the_budget_ended_wants_a_larger_one(here: World, status: RunStatus) -> None:
    later = [StepRecord(4, "report")] if status is RunStatus.SUCCEEDED else []
    steering = stopped(here, status, *later)
    with pytest.raises(PreconditionError, match="retry it with a larger max_training_steps"):
        await steering.retry("r-1")
    await steering.retry("r-1", budget={"max_training_steps": 200})
    assert here.store.get_run("r-1").retry_from == "budget_train_2"


async def test_retry_of_what_failed_after_the_budget_stopped_it_begins_at_the_step_that_failed(
    here: World,
) -> None:
    steering = stopped(here, RunStatus.FAILED, StepRecord(4, "probe_base", "NOT_READY"))
    await steering.retry("r-1")
    assert here.store.get_run("r-1").retry_from == "probe_base"


async def test_retry_of_what_was_cancelled_after_the_budget_stopped_it_goes_on(here: World) -> None:
    steering = stopped(here, RunStatus.CANCELLED)
    await steering.retry("r-1")
    assert here.store.get_run("r-1").retry_from == ""


async def test_retry_with_a_larger_budget_of_what_failed_later_goes_back_to_the_decision(here: World) -> None:
    steering = stopped(here, RunStatus.FAILED, StepRecord(4, "probe_base", "NOT_READY"))
    with pytest.raises(PreconditionError, match="of which 80 are used"):
        await steering.retry("r-1", budget={"max_training_steps": 90})
    await steering.retry("r-1", budget={"max_training_steps": 200})
    assert here.store.get_run("r-1").retry_from == "budget_train_2"
