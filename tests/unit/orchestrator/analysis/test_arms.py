"""Scale, arm results, matrix: closed forms against plain sums, and what is left out."""

from dataclasses import replace

import numpy as np
import pytest

from services.orchestrator.analysis import arms
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.instrument import Instrument
from tests.evidence import make_evidence


def pooled(evidence: Evidence, left: str, right: str, other: bool) -> float:
    """Mean over topics of 1 - cosine of all pairs i == j, or i != j, by plain loops."""
    vectors, means = evidence.vectors["primary"], []
    first, second = evidence.texts(left), evidence.texts(right)
    for topic in evidence.topic_ids:
        keys = [key for key in evidence.keys("test") if key[0] == topic]
        means.append(
            np.mean(
                [
                    1 - vectors.of([text])[0] @ vectors.of([second[j][0]])[0]
                    for i in keys
                    for j in keys
                    for text in first[i]
                    if (i != j) == other
                ]
            )
        )
    return float(np.mean(means))


def test_scale_is_that_of_plain_loops() -> None:
    evidence = make_evidence(inputs=15)
    found = arms.scale(Instrument(evidence))
    assert found is not None
    assert found.floor.value == pytest.approx(pooled(evidence, "original", "aligned", other=True), abs=1e-6)
    first = replace(evidence, outputs=tuple(each for each in evidence.outputs if each.sample == 0))
    assert found.register_only.value == pytest.approx(
        pooled(first, "aligned", "aligned", other=True), abs=1e-6
    )


def test_arm_result_is_that_of_plain_loops() -> None:
    evidence = make_evidence(inputs=15)
    found = arms.arm_result(Instrument(evidence), ArmKind.BASE_P3)
    assert found is not None
    own, others = (pooled(evidence, "base_p3", "aligned", other=other) for other in (False, True))
    assert found.mean.value == pytest.approx(own, abs=1e-6)
    assert found.shuffled == pytest.approx(others, abs=1e-6)
    assert found.specificity is not None
    assert found.specificity.value == pytest.approx(others - own, abs=1e-6)
    assert found.specificity.low is not None
    assert found.specificity.low < found.specificity.value


def test_scaled_is_on_the_scale() -> None:
    instrument = Instrument(make_evidence(inputs=15))
    scale, found = arms.scale(instrument), arms.arm_result(instrument, ArmKind.BASE_P3)
    assert scale is not None
    assert scale.ceiling is not None
    assert found is not None
    assert found.scaled is not None
    expected = (scale.floor.value - found.mean.value) / (scale.floor.value - scale.ceiling.value)
    assert found.scaled.value == pytest.approx(expected)


def test_scaled_further_references_are_at_the_ceiling() -> None:
    found = arms.arm_result(Instrument(make_evidence(inputs=15)), ArmKind.ALIGNED)
    assert found is not None
    assert found.scaled is not None
    assert found.scaled.value == pytest.approx(1.0)


def test_arm_result_without_texts_is_none() -> None:
    assert arms.arm_result(Instrument(make_evidence(measure_only=True, inputs=6)), ArmKind.TUNED) is None


def test_distribution_takes_the_same_inputs_of_both_sides() -> None:
    evidence = make_evidence(
        inputs=40,
        measurement={"samples": 3, "resamples": 100, "permutations": 100, "max_distribution_texts": 20},
    )
    instrument = Instrument(evidence)
    measured = instrument.measure(ArmKind.BASE_P3)
    assert measured is not None
    found = arms.distribution(instrument, measured)
    assert found is not None
    assert (found.n_left, found.n_right) == (20, 20)
    assert found.p_value == pytest.approx(1 / 101)


def test_matrix_without_another_set_has_one_column() -> None:
    cells = arms.matrix(Instrument(make_evidence(inputs=15, controls=())))
    assert [(cell.trained_on, cell.measured_against) for cell in cells] == [
        ("base", "test-set"),
        ("test-set", "test-set"),
    ]


def test_every_kind_that_is_shown_has_a_title() -> None:
    hidden = {ArmKind.ALIGNED_OTHER, ArmKind.CHECKPOINT}
    assert set(arms.TITLES) == set(ArmKind) - hidden
