"""What is said of values from the raw scores of a run."""

import json
from dataclasses import replace

import pytest

from services.orchestrator.analysis.values.dimensions import IDEAL, VALUES
from services.orchestrator.analysis.values.results import ValueSpace
from services.orchestrator.analysis.values.space import measured_arms, spoken_values, value_space
from tests.value_spaces import ARMS, evidence, known


def silent(arm: str, topic: str, index: int, value: str) -> str:
    return "none"


def ideal(arm: str, topic: str, index: int, value: str) -> str:
    return "important" if IDEAL[value] else "none"


def tuned_is_ideal(arm: str, topic: str, index: int, value: str) -> str:
    return (ideal if arm == "realigned-i1" else silent)(arm, topic, index, value)


def space_of(*args, **options) -> ValueSpace:
    found = value_space(evidence(*args, **options))
    assert found is not None
    return found


def arm_of(space: ValueSpace, name: str):
    return next(arm for arm in space.arms if arm.arm == name)


def test_run_without_scores_of_values_has_no_value_space():
    assert value_space(replace(evidence(silent), probes={})) is None


def test_arms_are_base_aligned_and_the_first_tuned_one():
    assert [arm.name for arm in measured_arms(ARMS)] == ["original", "aligned", "base_p3", "realigned-i1"]
    assert [arm.arm for arm in space_of(silent).arms] == ["original", "aligned", "base_p3", "realigned-i1"]


def test_valueless_replies_lie_farther_from_the_ideal_than_valued_ones():
    """No connection counts as 0 and stays in the sum: silence must not earn the best score."""
    space = space_of(tuned_is_ideal, agreement=known())
    far, near = arm_of(space, "base_p3").pooled.distance, arm_of(space, "realigned-i1").pooled.distance
    assert far.value == pytest.approx(0.707, abs=0.01)
    assert near.value < 0.15
    contrast = next(one for one in space.contrasts if one.against == "base_p3")
    assert contrast.difference.value == pytest.approx(far.value - near.value)
    assert contrast.difference.low > 0


def test_values_with_too_few_labels_are_null_everywhere_never_0():
    spoken = ("security", "benevolence")
    space = space_of(ideal, agreement=known(spoken))
    assert [one.value for one in space.dimensions if one.spoken] == list(spoken)
    for arm in space.arms:
        for vector in (arm.pooled, *arm.topics.values()):
            for value in VALUES:
                assert (vector.scores[value] is None) == (value not in spoken)
                assert (vector.shares[value] is None) == (value not in spoken)
    assert arm_of(space, "aligned").pooled.distance.value < 0.2
    assert "Too few labels to speak of" in " ".join(space.notes)


def test_evaluator_that_may_speak_of_nothing_gives_no_distance():
    space = space_of(ideal, agreement=known(()))
    assert all(arm.pooled.distance is None and arm.pooled.n == 0 for arm in space.arms)
    assert space.contrasts == ()


def test_judge_without_labels_is_reported_as_unknown():
    space = space_of(ideal, evaluator="judge")
    assert space.agreement == "unknown"
    assert {one.standing for one in space.dimensions} == {"unknown"}
    assert any("unknown" in note for note in space.notes)
    assert space_of(ideal, evaluator="judge", agreement=known()).agreement == "measured"


def test_value_without_agreement_above_chance_is_named():
    given = known()
    given[0] |= {"above_chance": False}
    assert any(
        "no better than chance for: Self-direction" in note for note in space_of(ideal, agreement=given).notes
    )


def test_prior_of_the_judge_is_divided_out_if_the_study_says_so():
    prior = {value: [0.05, 0.9, 0.05] for value in VALUES}  # "none" is what this judge says to anything
    plain = space_of(silent, evaluator="judge", prior=prior)
    calibrated = space_of(silent, evaluator="judge", prior=prior, calibrate=True)
    share = "security"
    assert arm_of(plain, "original").pooled.shares[share].none == 1
    assert arm_of(calibrated, "original").pooled.scores[share].value == pytest.approx(0)
    assert (plain.calibrated, calibrated.calibrated) == (False, True)


def test_pooled_score_is_the_mean_of_the_topics():
    def say(arm: str, topic: str, index: int, value: str) -> str:
        return "important" if topic == "privacy" else "opposed"

    space = space_of(say, agreement=known())
    vector = arm_of(space, "original")
    assert vector.topics["privacy"].scores["power"].value == pytest.approx(0.85)
    assert vector.pooled.scores["power"].value == pytest.approx(0)
    assert vector.pooled.shares["power"].model_dump() == pytest.approx(
        {"important": 0.5, "none": 0, "opposed": 0.5}
    )


def test_target_of_a_user_is_what_distances_go_to():
    space = space_of(silent, agreement=known(), target={"power": -1})
    assert space.target["power"] == -1
    assert arm_of(space, "original").pooled.distance.value == pytest.approx((1 / 10) ** 0.5, abs=0.02)


def test_text_with_an_answer_that_could_not_be_scored_has_no_distance_but_its_other_scores():
    def say(arm: str, topic: str, index: int, value: str) -> str:
        return "?" if (index, value) == (0, "security") else "none"

    arm = arm_of(space_of(say, agreement=known()), "original")
    assert arm.incomplete == 2  # one a topic
    assert arm.pooled.n == 22
    assert (arm.pooled.scores["security"].n, arm.pooled.scores["power"].n) == (22, 24)


def test_interval_holds_the_mean_and_is_missing_for_a_single_input():
    def say(arm: str, topic: str, index: int, value: str) -> str:
        return ("important", "none", "opposed")[index % 3]

    many = arm_of(space_of(say, agreement=known()), "original").pooled.scores["power"]
    assert many.low < many.value < many.high
    one = space_of(say, agreement=known(), inputs=1)
    assert arm_of(one, "original").topics["privacy"].distance.low is None


def test_result_is_the_same_from_the_evidence_as_json():
    first = evidence(tuned_is_ideal, agreement=known(("security", "power")), evaluator="judge")
    probes = json.loads(json.dumps(first.probes, sort_keys=True))
    assert value_space(first) == value_space(replace(first, probes=probes))


def test_result_is_json_without_nan_and_comes_back():
    space = space_of(tuned_is_ideal, agreement=known(("security",)))
    assert ValueSpace.model_validate_json(space.model_dump_json()) == space


def test_judge_that_was_never_measured_may_speak_of_all_values():
    assert spoken_values(None) == VALUES
    assert spoken_values([]) == ()
