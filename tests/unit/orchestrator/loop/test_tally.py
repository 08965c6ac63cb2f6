"""What a run used, over attempts and restarts."""

from services.common.usage import Usage
from services.orchestrator.loop.clock import Clock
from services.orchestrator.loop.tally import Tally
from services.orchestrator.ports import TrainingStatus


def follow(tally: Tally, step: int, life: int = 1, **more: float) -> Usage:
    """The job as the trainer tells of it; one that is begun anew has another time of creation."""
    status = TrainingStatus("job", "running", step=step, duration_s=step / 2, create_time_ns=life, **more)
    return tally.follow_training(status, 4 * step)


def trained(tally: Tally) -> tuple[float, float, float]:
    sums = tally.total()
    return sums["training_steps"], sums["trained_examples"], sums["training_s"]


def test_follow_training_counts_each_part_once_over_restarts_of_the_process() -> None:
    tally = Tally()
    for step in (0, 3, 5):
        follow(tally, step)
    later = Tally(tally.as_json())
    for step in (5, 8, 10, 10):
        follow(later, step)
    assert trained(later) == (10, 40, 5.0)


def test_follow_training_counts_a_job_that_is_begun_anew_again() -> None:
    tally = Tally()
    follow(tally, 6)
    follow(tally, 6)
    again = Tally(tally.as_json())
    for step in (0, 6, 7):
        follow(again, step, life=2)
    assert trained(again) == (13, 52, 6.5)


def test_follow_training_goes_back_to_a_checkpoint_counts_what_is_done_again() -> None:
    tally = Tally()
    for step in (5, 3, 5):
        follow(tally, step)
    assert trained(tally)[0] == 7


def test_follow_training_counts_what_its_processes_cost_once_a_life() -> None:
    tally = Tally()
    first = follow(tally, 5)
    assert (first.cpu_s, first.gpu_s) == (0.0, 0.0)
    told = follow(tally, 10, cpu_s=3.0, gpu_s=20.0)
    assert (told.cpu_s, told.gpu_s) == (3.0, 20.0)
    joined = follow(Tally(tally.as_json()), 10, cpu_s=3.0, gpu_s=20.0)
    assert (joined.cpu_s, joined.gpu_s) == (0.0, 0.0)
    anew = follow(tally, 2, life=2, cpu_s=1.0, gpu_s=5.0)
    assert (anew.cpu_s, anew.gpu_s) == (1.0, 5.0)
    assert (tally.total()["cpu_s"], tally.total()["gpu_s"]) == (4.0, 25.0)


def test_follow_training_without_examples_keeps_those_that_are_counted() -> None:
    tally = Tally()
    follow(tally, 5)
    tally.follow_training(TrainingStatus("job", "cancelled", step=6, duration_s=3.5, create_time_ns=1))
    assert trained(tally) == (6, 20, 3.5)


def test_tally_of_an_earlier_version_lists_jobs_that_are_counted() -> None:
    tally = Tally({"stages": {"realign": {"training_steps": 10, "embeddings": 3}}, "jobs": ["job"]})
    follow(tally, 10)
    assert trained(tally)[0] == 10
    assert Tally(tally.as_json()).as_json() == tally.as_json()


def test_tally_of_an_earlier_version_has_a_job_that_goes_on() -> None:
    job = {"attempt": 1, "state": "running", "step": 4, "examples": 16, "duration_s": 2.0}
    tally = Tally({"stages": {"realign": {"training_steps": 4}}, "jobs": {"job": job}})
    follow(tally, 6)
    assert trained(tally) == (6, 8, 1.0)


def test_new_seconds_are_told_once(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("services.orchestrator.loop.clock.time.monotonic", lambda: now[0])
    clock = Clock()
    now[0] += 3
    assert clock.new_s() == 3.0
    now[0] += 2
    clock.lap()
    assert (clock.new_s(), clock.new_s()) == (2.0, 0.0)
