"""What an instrument measures: which inputs, which texts, whose training seeds."""

from dataclasses import replace

import numpy as np
import pytest

from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.instrument import Instrument, company, with_others
from tests.evidence import make_evidence, with_vectors


def test_measure_rows_are_training_seeds_and_columns_inputs() -> None:
    evidence = make_evidence(inputs=20, seeds=3, samples=2)
    found = Instrument(evidence).measure(ArmKind.TUNED)
    assert found is not None
    assert found.differences.shape == found.others.shape == (3, 12)
    assert (found.outputs, found.training_seeds, found.missing) == (3 * 12 * 2, 3, 0)
    assert found.keys == evidence.keys("test")


def test_measure_is_one_minus_the_mean_cosine_of_the_samples() -> None:
    evidence = make_evidence(inputs=20, samples=3)
    found = Instrument(evidence).measure(ArmKind.BASE_P3)
    assert found is not None
    vectors, key = evidence.vectors["primary"], found.keys[5]
    target = vectors.of([evidence.targets()[key]])[0]
    texts = vectors.of(evidence.texts("base_p3")[key])
    assert found.differences[0, 5] == pytest.approx(np.mean(1 - texts @ target), abs=1e-6)


def test_measure_untrained_arm_has_no_training_seeds() -> None:
    instrument = Instrument(make_evidence(inputs=20))
    base, tuned = instrument.measure(ArmKind.BASE_P3), instrument.measure(ArmKind.TUNED)
    assert base is not None
    assert tuned is not None
    assert base.training_seeds == 0
    assert base.column(base.keys).trained == ""
    assert tuned.column(tuned.keys).trained == "tuned"


def test_measure_aligned_by_its_further_draws_is_the_ceiling_for_two_draws() -> None:
    instrument = Instrument(make_evidence(inputs=20, reference_samples=2))
    aligned, ceiling = instrument.measure(ArmKind.ALIGNED), instrument.ceiling
    assert aligned is not None
    assert ceiling is not None
    assert aligned.differences == pytest.approx(ceiling[1].values, abs=1e-9)


def test_measure_input_that_one_seed_lacks_is_left_out_of_all() -> None:
    evidence = make_evidence(inputs=20)
    lost = evidence.keys("test")[3]
    kept = tuple(each for each in evidence.outputs if (each.arm, each.key) != ("tuned-s1", lost))
    found = Instrument(replace(evidence, outputs=kept)).measure(ArmKind.TUNED)
    assert found is not None
    assert lost not in found.keys
    assert found.missing == 1


def test_measure_constant_and_copied_are_made_where_nobody_gives_them() -> None:
    instrument = Instrument(make_evidence(inputs=20))
    constant = instrument.measure(ArmKind.CONSTANT)
    assert constant is not None
    assert constant.outputs == 12
    assert instrument.measure(ArmKind.COPIED) is not None


def test_measure_against_the_other_set() -> None:
    instrument = Instrument(make_evidence(inputs=20))
    own, other = (
        instrument.measure(ArmKind.OTHER, reference) for reference in (ArmKind.ALIGNED_OTHER, ArmKind.ALIGNED)
    )
    assert own is not None
    assert other is not None
    assert own.differences.mean() < other.differences.mean()


def test_column_takes_inputs_in_the_order_asked_for() -> None:
    found = Instrument(make_evidence(inputs=20)).measure(ArmKind.BASE_P3)
    assert found is not None
    some = (found.keys[4], found.keys[1])
    assert found.column(some).values.tolist() == found.differences[:, [4, 1]].tolist()


def test_transform_changes_what_is_looked_up() -> None:
    evidence = make_evidence(inputs=20)
    upper = with_vectors(
        evidence,
        required=lambda each: {"primary": {output.text.upper() for output in each.outputs}},
        second=False,
    )
    plain, changed = Instrument(evidence), Instrument(upper, transform=str.upper)
    first, second = plain.measure(ArmKind.BASE_P3), changed.measure(ArmKind.BASE_P3)
    assert first is not None
    assert second is not None
    assert first.differences == pytest.approx(second.differences, abs=1e-6)


def test_company_is_the_topic_and_all_inputs_where_every_topic_has_one() -> None:
    assert company([("a", 0), ("a", 1), ("b", 0)]) == ["a", "a", "b"]
    assert company([("a", 0), ("b", 0)]) == ["", ""]


def test_with_others_leaves_out_who_is_alone() -> None:
    assert with_others((("a", 0), ("a", 1), ("b", 0))) == (("a", 0), ("a", 1))
    assert with_others((("a", 0), ("b", 0))) == (("a", 0), ("b", 0))
    assert with_others((("a", 0),)) == ()
