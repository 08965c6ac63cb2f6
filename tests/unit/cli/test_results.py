from typing import Any

import pytest
from rich.console import Console

from services.cli.costs import cost_rows, print_cost
from services.cli.results import cells, meaning


def report(after: float | None, constant: float | None, base_p3: float | None = 0.72) -> dict[str, Any]:
    return {"overall": {"before": 0.739, "base_p3": base_p3, "after": after, "constant": constant}}


@pytest.mark.parametrize("constant", [0.316, 0.442])
def test_meaning_constant_no_worse_says_it_is_no_evidence(constant: float) -> None:
    text = meaning(report(0.442, constant))
    assert f"{constant:.3f} without any training" in text
    assert "not evidence" in text
    assert "from 0.739 to 0.720" in text


def test_meaning_after_under_constant_still_does_not_claim_the_subject() -> None:
    text = meaning(report(0.2, 0.316))
    assert "comes nearer" in text
    assert "does not show that its principles kept their subject" in text


def test_meaning_nothing_tuned_says_so() -> None:
    assert "only measured" in meaning(report(None, None, None))


def test_meaning_is_one_sentence() -> None:
    for numbers in ((0.4, 0.3), (0.2, 0.3), (None, None), (0.4, None)):
        assert meaning(report(*numbers)).count(". ") == 0


def test_cells_reduction_is_printed_as_a_change() -> None:
    row = {"before": 0.5, "base_p3": None, "after": 0.3, "reduction": 0.4, "constant": 0.25}
    assert cells(row) == ["0.500", "-", "0.300", "-40.0%", "0.250"]


COST = {
    "study": {
        "budget": {"max_tokens": 2500, "max_training_steps": 31, "max_gpu_s": None, "max_wall_s": None}
    },
    "cost": {
        "total_used": {"completions": 80, "prompt_tokens": 1500, "completion_tokens": 500, "wall_s": 12.4},
        "total_planned": {"completions": 90, "prompt_tokens": 1600, "completion_tokens": 700, "scores": 40},
        "budget": {
            "step": "budget_train_3",
            "left_out": "iteration 3 and those after it",
            "limit": "max_training_steps",
            "allowed": 31,
            "used": 30,
            "needed": 15,
        },
    },
}


def test_cost_rows_hold_used_against_plan_and_budget() -> None:
    assert cost_rows(COST) == [
        ["completions", "80", "90", "-"],
        ["tokens", "2,000", "2,300", "2,500"],
        ["log-probabilities", "-", "40", "-"],
        ["training steps", "-", "-", "31"],
        ["seconds", "12", "-", "-"],
    ]
    assert cost_rows({"cost": None}) == cost_rows({}) == []


def test_print_cost_budget_reached_says_limit_use_and_what_was_left_out() -> None:
    screen = Console(record=True, width=120)
    print_cost(COST, screen)
    text = screen.export_text()
    assert "budget.max_training_steps allows 31: 30 were used" in text
    assert "about 15 with the end of the run. Left out: iteration 3 and those after it." in text
