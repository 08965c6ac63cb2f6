"""Krippendorff's alpha against his published examples, and what must hold of it whatever the ratings are."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.analysis.agreement import krippendorff_alpha

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
_OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
UNITS = [[int(row.split()[unit]) for row in _OBSERVERS if row.split()[unit] != "."] for unit in range(12)]
ratings = st.lists(st.lists(st.integers(1, 10), min_size=0, max_size=5), min_size=1, max_size=12)


@pytest.mark.parametrize(("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorff_alpha_published_example_with_missing_data_is_exact(metric, alpha):
    assert round(krippendorff_alpha(UNITS, metric), 3) == alpha


def test_krippendorff_alpha_published_binary_example_is_exact():
    """Section A of the same: two observers, ten units."""
    left, right = "0100000010", "1110010000"
    units = [(int(one), int(other)) for one, other in zip(left, right, strict=True)]
    assert round(krippendorff_alpha(units, "nominal"), 3) == 0.095


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
@given(units=ratings)
def test_krippendorff_alpha_order_of_reviewers_and_units_does_not_matter(metric, units):
    turned = [list(reversed(unit)) for unit in reversed(units)]
    assert krippendorff_alpha(units, metric) == pytest.approx(krippendorff_alpha(turned, metric))


@given(values=st.lists(st.integers(1, 10), min_size=2, max_size=12), reviewers=st.integers(2, 5))
def test_krippendorff_alpha_perfect_agreement_is_one_or_undefined(values, reviewers):
    alpha = krippendorff_alpha([[value] * reviewers for value in values], "ordinal")
    assert alpha == (pytest.approx(1.0) if len(set(values)) > 1 else None)


def test_krippendorff_alpha_no_pairs_is_undefined():
    assert krippendorff_alpha([[1], [5], []]) is None


def test_krippendorff_alpha_systematic_disagreement_is_negative():
    assert krippendorff_alpha([[1, 10], [10, 1], [1, 10]], "interval") < -0.1


def test_krippendorff_alpha_random_ratings_are_about_zero():
    random = np.random.default_rng(0)
    assert abs(krippendorff_alpha(random.integers(1, 11, (2000, 3)).tolist())) < 0.03


def test_krippendorff_alpha_interval_is_the_definition():
    """1 - D_o / D_e, pair by pair, as the definition counts them."""
    paired = [unit for unit in UNITS if len(unit) > 1]
    every = [value for unit in paired for value in unit]
    observed = sum(
        (left - right) ** 2 / (len(unit) - 1) for unit in paired for left, right in permutations(unit, 2)
    )
    expected = sum((left - right) ** 2 for left, right in permutations(every, 2)) / (len(every) - 1)
    assert krippendorff_alpha(UNITS, "interval") == pytest.approx(1 - observed / expected)
