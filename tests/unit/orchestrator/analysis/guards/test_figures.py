"""Worked examples of the guards' figures."""

import math

import numpy as np
import pytest

from services.orchestrator.analysis.guards.diversity import (
    distinct,
    pairwise_distance,
    self_bleu,
    vendi_score,
)
from services.orchestrator.analysis.guards.intervals import measure, percent, status_of, worst
from services.orchestrator.analysis.guards.polarity import Judge, _calibrated
from services.orchestrator.analysis.results import Estimate


def test_distinct_counts_different_grams_of_all_texts_together():
    texts = [("a", "b", "a"), ("a", "b")]
    assert distinct(texts, 1) == 2 / 5
    assert distinct(texts, 2) == 2 / 3
    assert distinct([("a",)], 2) == 0


def test_vendi_score_orthogonal_texts_count_fully_and_equal_ones_once():
    assert vendi_score(np.eye(5, 8, dtype=np.float32)) == pytest.approx(5)
    assert vendi_score(np.eye(8, 5, dtype=np.float32)[:5]) == pytest.approx(5)
    assert vendi_score(np.tile(np.eye(1, 4, dtype=np.float32), (9, 1))) == pytest.approx(1)
    half = np.repeat(np.eye(2, 4, dtype=np.float32), [3, 1], axis=0)
    assert vendi_score(half) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_vendi_score_either_side_of_the_product_gives_the_same():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 40)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wide = np.concatenate([rows, np.zeros((40, 1), np.float32)], axis=1)
    assert vendi_score(rows) == pytest.approx(vendi_score(wide), rel=1e-6)


def test_pairwise_distance_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((30, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [1 - float(rows[a] @ rows[b]) for a in range(30) for b in range(30) if a != b]
    assert pairwise_distance(rows) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_self_bleu_equal_texts_one_and_different_texts_nearly_none():
    assert self_bleu(["you shall not steal at all"] * 4, 0) == pytest.approx(1)
    words = [" ".join(f"w{row}x{place}" for place in range(6)) for row in range(5)]
    assert self_bleu(words, 0) == pytest.approx(0, abs=1e-6)
    assert self_bleu(["alone"], 0) == 0


def test_judge_perfect_and_reversed_scores():
    wrong = np.array([True, True, False, False])
    judge = _calibrated(np.array([2.0, 1.0, -1.0, -2.0]), wrong)
    assert judge == Judge(auc=1.0, cut=0.0, caught=1.0, false_alarms=0.0, n=4)
    assert _calibrated(np.array([-2.0, -1.0, 1.0, 2.0]), wrong).auc == 0
    assert _calibrated(np.array([1.0]), np.array([True])) is None


def test_judge_corrected_rate_takes_its_errors_out():
    judge = Judge(auc=0.9, cut=0.0, caught=0.8, false_alarms=0.2, n=10)
    assert judge.corrected(0.2) == 0
    assert judge.corrected(0.8) == pytest.approx(1)
    assert judge.corrected(0.5) == pytest.approx(0.5)
    assert judge.corrected(0.05) == 0


@pytest.mark.parametrize(
    ("low", "value", "high", "lenient", "strict"),
    [
        (0.0, 0.05, 0.09, "pass", "pass"),
        (0.0, 0.05, 0.2, "pass", "warn"),
        (0.05, 0.15, 0.2, "warn", "warn"),
        (0.11, 0.15, 0.2, "fail", "fail"),
        (None, 0.05, None, "pass", "pass"),
        (None, 0.15, None, "fail", "fail"),
    ],
)
def test_status_of_excess_against_its_threshold(low, value, high, lenient, strict):
    item = measure("x", "x", Estimate(value=value, low=low, high=high), 0.1, better="lower")
    assert status_of(item) == lenient
    assert status_of(item, strict=True) == strict
    turned = measure(
        "x",
        "x",
        Estimate(value=-value, low=None if high is None else -high, high=None if low is None else -low),
        -0.1,
        better="higher",
    )
    assert status_of(turned) == lenient


def test_status_of_without_threshold_is_only_told():
    assert status_of(measure("x", "x", 5.0)) == "pass"
    assert status_of(measure("x", "x", None, 0.1)) == "pass"


def test_worst_and_percent():
    assert worst(["pass", "warn", "fail"]) == "fail"
    assert worst([]) == "pass"
    assert percent(-0.001) == "0 %"
