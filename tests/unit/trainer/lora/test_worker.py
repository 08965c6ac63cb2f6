"""How workers answer, and when they may not write any more."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from services.trainer.compute import Compute
from services.trainer.lora.worker import (
    Order,
    SupersededError,
    begin_attempt,
    check_attempt,
    read_answer,
    with_threads,
)
from services.trainer.store import Outcome, write_atomic
from services.trainer.types import TrainedAdapter

ADAPTER = Outcome(TrainedAdapter("run-i1-00000000", "file:///x", "0" * 64))
DIVERGED = Outcome(error_code="INVALID_INPUT", error_message="the loss is nan")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    (tmp_path / "work").mkdir()
    return Order(str(tmp_path), "/store", "first", "info", Compute("torchrun", 4))


def test_order_survives_its_text(order: Order) -> None:
    assert Order.from_text(order.to_text()) == order


def test_read_answer_prefers_an_error_of_any_worker(order: Order) -> None:
    assert read_answer(order) is None
    write_atomic(order.work / "answer-0.json", asdict(ADAPTER))
    assert read_answer(order) == ADAPTER
    write_atomic(order.work / "answer-3.json", asdict(DIVERGED))
    assert read_answer(order) == DIVERGED


def test_begin_attempt_ends_the_one_before_and_drops_its_answers(order: Order) -> None:
    begin_attempt(order)
    check_attempt(order)
    write_atomic(order.work / "answer-1.json", asdict(DIVERGED))
    second = replace(order, attempt="second")
    begin_attempt(second)
    check_attempt(second)
    assert read_answer(second) is None
    with pytest.raises(SupersededError, match="attempt first"):
        check_attempt(order)


def test_check_attempt_of_a_cancelled_job_is_over(order: Order) -> None:
    begin_attempt(order)
    (order.work / "attempt").unlink()
    order.work.rmdir()
    with pytest.raises(SupersededError):
        check_attempt(order)


@pytest.mark.parametrize(("threads", "cores", "expected"), [(0, 8, 2), (0, 2, 1), (3, 8, 3)])
def test_with_threads_shares_out_the_cores_that_nobody_has_assigned(
    order: Order, threads: int, cores: int, expected: int
) -> None:
    given = replace(order, compute=replace(order.compute, threads=threads))
    assert with_threads(given, cores).compute.threads == expected
