"""The whole analysis on synthetic evidence: what it says of models whose behaviour is known."""

import json
import random
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.results import Analysis, ArmResult
from tests.evidence import Model, make_evidence

FEW = {"samples": 2, "resamples": 200, "permutations": 200}


@cache
def analysed(model: Model = "faithful") -> Analysis:
    return analyse(make_evidence(model=model, inputs=40))


def arm(analysis: Analysis, kind: ArmKind) -> ArmResult:
    return next(each for each in analysis.arms if each.kind == kind.value)


def test_analyse_faithful_model_reaches_the_ceiling() -> None:
    analysis = analysed()
    assert analysis.primary is not None
    assert analysis.primary.reduction.low is not None
    assert analysis.primary.reduction.low > 0.3
    tuned = arm(analysis, ArmKind.TUNED)
    assert tuned.scaled is not None
    assert tuned.scaled.value == pytest.approx(1.0, abs=0.1)
    assert tuned.training_seeds == 2


def test_analyse_scale_floor_lies_above_the_register_alone_and_that_above_the_ceiling() -> None:
    scale = analysed().scale
    assert scale.ceiling is not None
    assert scale.floor.value > scale.register_only.value > scale.ceiling.value


def test_analyse_constant_model_moves_the_headline_and_ignores_its_input() -> None:
    analysis = analysed("constant")
    assert analysis.primary is not None
    assert analysis.primary.reduction.value > 0.15
    tuned = arm(analysis, ArmKind.TUNED)
    assert tuned.specificity is not None
    assert tuned.specificity.value == pytest.approx(0, abs=1e-6)
    assert tuned.mean.value == pytest.approx(arm(analysis, ArmKind.CONSTANT).mean.value, abs=1e-6)


def test_analyse_copied_model_equals_the_copied_arm() -> None:
    analysis = analysed("copied")
    tuned, copied = arm(analysis, ArmKind.TUNED), arm(analysis, ArmKind.COPIED)
    assert tuned.mean.value == pytest.approx(copied.mean.value, abs=1e-6)
    against = next(each for each in analysis.contrasts if (each.arm, each.against) == ("tuned", "copied"))
    assert against.p_value == 1.0


def test_analyse_shuffled_model_lies_nearer_to_others_than_to_its_own() -> None:
    specificity = arm(analysed("shuffled"), ArmKind.TUNED).specificity
    assert specificity is not None
    assert specificity.value < 0


def test_analyse_distribution_tells_a_faithful_model_from_a_constant_one() -> None:
    faithful = arm(analysed(), ArmKind.TUNED).distribution
    constant = arm(analysed("constant"), ArmKind.TUNED).distribution
    assert faithful is not None
    assert constant is not None
    assert constant.statistic > 10 * faithful.statistic
    assert constant.p_value < 0.01


def test_analyse_matrix_diagonal_is_nearest() -> None:
    cells = {(cell.trained_on, cell.measured_against): cell.mean.value for cell in analysed().matrix}
    assert len(cells) == 6
    for own, other in (("test-set", "other-set"), ("other-set", "test-set")):
        assert cells[own, own] < cells[other, own]
        assert cells[own, own] < cells["base", own]


def test_analyse_contrasts_are_those_of_the_arms_that_there_are() -> None:
    found = [(each.arm, each.against) for each in analysed().contrasts]
    assert ("base_p3", "original") in found
    assert ("tuned", "shuffled") in found
    assert len(found) == len(set(found)) == 9
    without = analyse(make_evidence(inputs=15, controls=()))
    assert not {"uniform", "shuffled", "other"} & {each.against for each in without.contrasts}


def test_analyse_order_of_outputs_does_not_matter() -> None:
    evidence = make_evidence(inputs=15, measurement=FEW)
    outputs = list(evidence.outputs)
    random.Random(1).shuffle(outputs)
    assert analyse(evidence) == analyse(replace(evidence, outputs=tuple(outputs)))


def test_analyse_seed_moves_intervals_but_no_estimate() -> None:
    evidence = make_evidence(inputs=15, measurement=FEW)
    first, second = analyse(evidence), analyse(replace(evidence, study={**evidence.study, "seed": 99}))
    assert first.primary is not None
    assert second.primary is not None
    assert first.primary.reduction.value == second.primary.reduction.value
    assert first.primary.reduction.low != second.primary.reduction.low


def test_analyse_measured_only_has_no_primary_and_no_verdict() -> None:
    analysis = analyse(make_evidence(measure_only=True, inputs=15, measurement=FEW))
    assert analysis.primary is None
    assert analysis.verdict is None
    assert [each.kind for each in analysis.arms] == ["original", "base_p3", "base_reference", "aligned"]
    assert "only measured" in analysis.notes[0]


def test_analyse_single_training_seed_is_said() -> None:
    analysis = analyse(make_evidence(inputs=15, seeds=1, measurement=FEW))
    assert any("single seed" in note for note in analysis.notes)


def test_analyse_without_second_draws_has_no_ceiling() -> None:
    analysis = analyse(make_evidence(inputs=15, reference_samples=1, measurement=FEW))
    assert analysis.scale.ceiling is None
    assert all(each.scaled is None for each in analysis.arms)
    assert any("no ceiling" in note for note in analysis.notes)


def test_analyse_input_without_a_text_is_left_out_and_said() -> None:
    evidence = make_evidence(inputs=15, measurement=FEW)
    lost = evidence.keys("test")[0]
    kept = tuple(each for each in evidence.outputs if (each.arm, each.key) != ("tuned-s1", lost))
    analysis = analyse(replace(evidence, outputs=kept))
    assert analysis.primary is not None
    assert analysis.primary.difference.n == len(evidence.keys("test")) - 1
    assert any(note.startswith("tuned has no usable text") for note in analysis.notes)


def test_analyse_topic_of_one_test_input_has_no_interval_of_its_own() -> None:
    evidence = make_evidence(inputs=15, measurement=FEW)
    first = evidence.topic_ids[0]
    test = {**evidence.split["test"], first: evidence.split["test"][first][:1]}
    analysis = analyse(replace(evidence, split={**evidence.split, "test": test}))
    assert analysis.primary is not None
    assert analysis.primary.topics[0].difference.low is None
    assert analysis.primary.difference.low is not None
    assert any(f"Topic {first} has one test input" in note for note in analysis.notes)


def test_analyse_three_principles_a_topic_is_still_measured() -> None:
    analysis = analyse(make_evidence(inputs=3, seeds=1, measurement=FEW))
    assert analysis.primary is not None
    assert analysis.verdict is not None
    assert analysis.verdict.decision != "promote"


def test_analyse_one_test_input_names_the_remedy() -> None:
    with pytest.raises(ValueError, match="more principles"):
        analyse(make_evidence(topics=1, inputs=3, measurement=FEW))


def test_analyse_large_sides_are_subsampled_and_said() -> None:
    analysis = analyse(make_evidence(inputs=40, measurement={**FEW, "max_distribution_texts": 20}))
    tuned = arm(analysis, ArmKind.TUNED).distribution
    assert tuned is not None
    assert (tuned.n_left, tuned.n_right) == (20, 20)
    assert any("at most 20 texts a side" in note for note in analysis.notes)


def test_analyse_facts_are_passed_on() -> None:
    evidence = make_evidence(inputs=15, measurement=FEW)
    facts = {**evidence.facts, "uncontrolled": ["the endpoint's seed"], "not_run": {"tasks": "none named"}}
    analysis = analyse(replace(evidence, facts=facts))
    assert analysis.uncontrolled == ("the endpoint's seed",)
    assert analysis.not_run == {"tasks": "none named"}


@cache
def _small() -> Evidence:
    return make_evidence(
        topics=2, inputs=12, samples=2, measurement={**FEW, "resamples": 100, "permutations": 100}
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.3, 1.0))
def test_analyse_whatever_is_missing_gives_finite_numbers(seed: int, kept: float) -> None:
    evidence, rng = _small(), random.Random(seed)
    needed = ("original", "aligned")
    outputs = tuple(each for each in evidence.outputs if each.arm in needed or rng.random() < kept)
    analysis = analyse(replace(evidence, outputs=outputs))
    assert json.loads(analysis.model_dump_json())["seed"] == 0
