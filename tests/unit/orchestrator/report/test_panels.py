"""Places of bullets and cells follow from the numbers."""

import pytest

from services.orchestrator.analysis.results import Measure
from services.orchestrator.report import panels
from tests.unit.orchestrator.report import analyses


def _measure(**changes: object) -> Measure:
    return Measure.model_validate({"name": "m", "title": "m"} | changes)


def test_bullet_higher_is_better_passes_right_of_the_threshold() -> None:
    made = panels.bullet(_measure(value=0.5, low=0.4, high=0.6, threshold=0.8, better="higher"))
    assert made is not None
    assert made.threshold is not None
    assert made.passing == (made.threshold, 100.0)
    assert made.interval is not None
    assert made.interval[0] < made.value < made.interval[1] < made.threshold < 100


def test_bullet_lower_is_better_passes_left_of_the_threshold() -> None:
    made = panels.bullet(_measure(value=-0.2, threshold=0.1, better="lower"))
    assert made is not None
    assert made.passing == (0.0, made.threshold)
    assert 0 < made.value < (made.threshold or 0)


@pytest.mark.parametrize("changes", [{}, {"threshold": 0.5}, {"value": 0.5}, {"value": 0.5, "low": 0.1}])
def test_bullet_with_nothing_to_place_is_none(changes: dict[str, float]) -> None:
    assert panels.bullet(_measure(**changes)) is None


def test_bullet_of_zeros_divides_by_nothing() -> None:
    made = panels.bullet(_measure(value=0.0, threshold=0.0, better="lower"))
    assert made is not None
    assert made.value == 0.0


def test_told_names_value_interval_and_what_is_asked() -> None:
    assert panels.told(_measure(value=0.5, low=0.4, high=0.6, threshold=0.8, better="higher")) == (
        "0.500 (0.400 to 0.600), at least 0.800"
    )
    assert panels.told(_measure(threshold=12.5, better="lower")) == "not measured, at most 12.5"


def test_told_counts_are_told_as_counts() -> None:
    assert panels.told(_measure(value=24, threshold=30, better="higher")) == "24, at least 30"
    assert panels.told(_measure(value=1.0, threshold=1.0, better="higher")) == "1.000, at least 1.000"


def test_card_measures_that_miss_stand_open_and_first() -> None:
    passing = tuple(_measure(name=f"p{n}", value=1.0, threshold=0.5, better="higher") for n in range(5))
    missing = _measure(name="m", value=0.1, threshold=0.5, better="higher")
    guard = analyses.GUARDS[0].model_copy(update={"measures": (*passing, missing, _measure(value=3.0))})
    (card,) = panels.cards(analyses.analysis(("a",), guards=(guard,)))
    assert [measure.name for measure, _, _ in card.rows] == ["m", "p0", "p1", "p2"]
    assert len(card.more) == 3


def test_cards_failed_guards_come_first() -> None:
    cards = panels.cards(analyses.analysis(("a",)))
    assert [card.guard.status for card in cards] == ["fail", "warn", "not_measured", "pass"]


def test_heat_marks_the_diagonal_and_the_nearest_of_each_column() -> None:
    columns, rows = panels.heat(analyses.analysis(("a",)))
    assert columns == ("ten-commandments", "gdpr-article-5")
    assert [row for row, _ in rows] == ["ten-commandments", "gdpr-article-5", "base"]
    cells = {(row, column): cell for row, line in rows for column, cell in zip(columns, line, strict=True)}
    best = cells["gdpr-article-5", "gdpr-article-5"]
    assert best is not None
    assert (best.diagonal, best.nearest, best.shade) == (True, True, 1.0)
    base = cells["base", "ten-commandments"]
    assert base is not None
    assert (base.diagonal, base.nearest) == (False, False)


def test_diagonal_without_a_matrix_is_not_judged() -> None:
    assert panels.diagonal_wins(analyses.analysis(("a",), matrix=())) is None
    assert panels.diagonal_wins(analyses.analysis(("a",))) is True
