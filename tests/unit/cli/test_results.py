from typing import Any

import pytest

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
