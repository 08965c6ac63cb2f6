"""What a run used, over attempts and restarts."""

from services.orchestrator.loop.clock import Clock
from services.orchestrator.loop.tally import Tally


def follow(tally: Tally, attempt: int, state: str, step: int) -> None:
    tally.follow_training("job", attempt, state=state, step=step, examples=4 * step, duration_s=step / 2)


def trained(tally: Tally) -> tuple[float, float, float]:
    sums = tally.total()
    return sums["training_steps"], sums["trained_examples"], sums["training_s"]


def test_follow_training_counts_each_part_once_over_restarts_of_the_process() -> None:
    tally = Tally()
    for step in (0, 3, 5):
        follow(tally, 1, "running", step)
    later = Tally(tally.as_json())
    for state, step in (("running", 5), ("running", 8), ("succeeded", 10), ("succeeded", 10)):
        follow(later, 1, state, step)
    assert trained(later) == (10, 40, 5.0)
    # A later attempt joins what has succeeded.
    follow(later, 2, "succeeded", 10)
    assert trained(later) == (10, 40, 5.0)


def test_follow_training_counts_a_job_that_is_begun_anew_again() -> None:
    tally = Tally()
    follow(tally, 1, "failed", 6)
    follow(tally, 1, "failed", 6)
    again = Tally(tally.as_json())
    for step in (0, 6, 7):
        follow(again, 2, "running", step)
    assert trained(again) == (13, 52, 6.5)


def test_follow_training_goes_back_to_a_checkpoint_counts_what_is_done_again() -> None:
    tally = Tally()
    for step in (5, 3, 5):
        follow(tally, 1, "running", step)
    assert trained(tally)[0] == 7


def test_tally_of_an_earlier_version_lists_jobs_that_are_counted() -> None:
    tally = Tally({"stages": {"realign": {"training_steps": 10, "embeddings": 3}}, "jobs": ["job"]})
    follow(tally, 2, "succeeded", 10)
    assert trained(tally)[0] == 10
    assert Tally(tally.as_json()).as_json() == tally.as_json()


def test_new_seconds_are_told_once(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("services.orchestrator.loop.clock.time.monotonic", lambda: now[0])
    clock = Clock()
    now[0] += 3
    assert clock.new_s() == 3.0
    now[0] += 2
    clock.lap()
    assert (clock.new_s(), clock.new_s()) == (2.0, 0.0)
