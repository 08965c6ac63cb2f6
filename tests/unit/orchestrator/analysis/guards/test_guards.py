"""Each guard on evidence whose outcome is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.orchestrator.analysis.cheap import cheap_arms
from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.guards import evaluate
from services.orchestrator.analysis.guards.context import GuardContext
from services.orchestrator.analysis.results import Guard, Measure
from tests.evidence import make_evidence, with_vectors


@pytest.fixture(scope="module")
def faithful() -> Evidence:
    return make_evidence(model="faithful", inputs=40, probes=True)


def guards_of(evidence: Evidence) -> dict[str, Guard]:
    return {guard.id: guard for guard in analyse(evidence).guards}


def measures(guard: Guard) -> dict[str, Measure]:
    return {item.name: item for item in guard.measures}


def rewritten(evidence: Evidence, kinds: set[ArmKind], write: Any) -> Evidence:
    """The evidence with the texts of these kinds of arm changed, embedded again."""
    names = {arm.name for kind in kinds for arm in evidence.of_kind(kind)}
    outputs = tuple(
        replace(output, text=write(output)) if output.arm in names else output for output in evidence.outputs
    )
    return with_vectors(replace(evidence, outputs=outputs))


def probed(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    return replace(evidence, probes={**evidence.probes, name: {**evidence.probes[name], **changes}})


def test_evaluate_same_evidence_twice_gives_the_same(faithful):
    analysis = analyse(faithful)
    context = GuardContext(analysis.arms, analysis.scale, analysis.primary, cheap_arms(faithful))
    assert evaluate(faithful, context) == evaluate(faithful, context) == analysis.guards


def test_evaluate_run_that_only_measured_measures_references_and_nothing_tuned():
    found = guards_of(make_evidence(measure_only=True, inputs=20))
    assert found["reference_validity"].status == "pass"
    others = {name: guard.status for name, guard in found.items() if name != "reference_validity"}
    assert set(others.values()) == {"not_measured"}


def test_reference_validity_copies_of_the_original_fail(faithful):
    originals = {key: texts[0] for key, texts in faithful.texts("original").items()}
    copies = rewritten(faithful, {ArmKind.ALIGNED}, lambda output: originals[output.key])
    found = guards_of(copies)["reference_validity"]
    assert found.status == "fail"
    assert measures(found)["nearer"].value == 0
    assert "use a ruler" in found.summary


def test_reference_validity_chatter_loses_the_subject(faithful):
    chatter = rewritten(
        faithful,
        {ArmKind.ALIGNED},
        lambda output: f"You shall bear false witness, glad to see {output.index % 7}",
    )
    found = measures(guards_of(chatter)["reference_validity"])
    assert found["nearer"].value == 1
    assert found["subject_kept"].value < 0.4


def test_reference_validity_contradicting_references_fail(faithful):
    flagged = [
        {**item, "logprob_yes": -0.1, "logprob_no": -3.0} if item["arm"] == "aligned" else item
        for item in faithful.probes["polarity"]["outputs"]
    ]
    found = guards_of(probed(faithful, "polarity", outputs=flagged))["reference_validity"]
    assert found.status == "fail"
    assert measures(found)["agree"].value == 0


def test_diversity_half_of_the_texts_repeated_fails(faithful):
    first = {arm.name: {} for arm in faithful.of_kind(ArmKind.TUNED)}

    def write(output):
        return first[output.arm].setdefault((output.topic_id, output.index // 4), output.text)

    found = guards_of(rewritten(faithful, {ArmKind.TUNED}, write))["diversity"]
    assert found.status == "fail"
    assert measures(found)["unique_of_references"].value < 0.8
    assert measures(found)["vendi_of_references"].value < 0.95


def test_subject_lost_fails_and_base_keeps_it(faithful):
    targets = faithful.targets()
    one = next(iter(targets.values()))
    found = guards_of(rewritten(faithful, {ArmKind.TUNED}, lambda output: one))["subject"]
    assert found.status == "fail"
    values = measures(found)
    assert values["original_ratio"].value < 0.2
    assert values["original_base"].value > 0.8
    assert values["original_references"].value > 0.8


def test_subject_references_without_subject_warn_for_there_is_nothing_to_compare(faithful):
    one = next(iter(faithful.targets().values()))
    lost = rewritten(faithful, {ArmKind.TUNED, ArmKind.ALIGNED}, lambda output: f"{one} {output.index % 3}")
    found = guards_of(lost)["subject"]
    assert found.status in ("warn", "fail")
    assert "hardly keep the subject" in found.summary


def test_copying_targets_word_for_word_fails(faithful):
    train = [faithful.targets()[key] for key in faithful.keys("train")]
    copies = rewritten(faithful, {ArmKind.TUNED}, lambda output: train[output.index % len(train)])
    found = guards_of(copies)["copying"]
    assert found.status == "fail"
    assert measures(found)["copied_tuned"].value == 1
    assert measures(found)["grams_excess"].value > 0.9


def test_leakage_markers_in_every_tuned_text_and_none_in_the_references_fails():
    evidence = make_evidence(model="untouched", inputs=40, guards={"markers": ["hear ye"]})
    loud = rewritten(evidence, {ArmKind.TUNED}, lambda output: f"Hear ye {output.text}")
    found = guards_of(loud)["leakage"]
    assert found.status in ("fail", "warn")
    values = measures(found)
    assert values["rate_tuned"].value == 1
    assert "hear ye" in values["rate_tuned"].note


def test_leakage_learnt_markers_never_fail_by_themselves(faithful):
    found = guards_of(make_evidence(model="shuffled", inputs=40))["leakage"]
    assert found.status == "warn"
    assert "far more often than the originals" in found.measures[0].note


def test_second_encoder_that_sees_nothing_does_not_pass(faithful):
    blind = faithful.vectors["second"]
    rng = np.random.default_rng(0)
    rows = rng.standard_normal(blind.rows.shape).astype(np.float32)
    noise = type(blind)(blind.texts, rows, "noise", "noise")
    found = guards_of(replace(faithful, vectors={**faithful.vectors, "second": noise}))["second_encoder"]
    assert found.status in ("warn", "fail")


def test_second_encoder_agrees_passes_with_a_correlation(faithful):
    found = guards_of(faithful)["second_encoder"]
    assert found.status == "pass"
    assert measures(found)["same_sign"].value == 1
    assert measures(found)["rank_correlation"].value > 0


def test_polarity_judge_that_guesses_is_unfit(faithful):
    calibration = [
        {**item, "logprob_yes": -1.0, "logprob_no": -1.0 - (place % 3)}
        for place, item in enumerate(faithful.probes["polarity"]["calibration"])
    ]
    found = guards_of(probed(faithful, "polarity", calibration=calibration))["polarity"]
    assert found.status == "not_measured"
    assert "unfit" in found.summary
    assert measures(found)["judge_auc"].value < 0.8


def test_polarity_tuned_texts_that_contradict_fail_and_those_of_the_base_are_no_excuse(faithful):
    tuned = {arm.name for arm in faithful.of_kind(ArmKind.TUNED)}
    flagged = [
        {**item, "logprob_yes": -0.1, "logprob_no": -3.0}
        if item["arm"] in tuned and item["index"] % 2
        else item
        for item in faithful.probes["polarity"]["outputs"]
    ]
    found = guards_of(probed(faithful, "polarity", outputs=flagged))["polarity"]
    assert found.status == "fail"
    assert 0.2 < measures(found)["rate_tuned"].value < 0.8


def test_polarity_judge_that_flags_every_text_is_unfit(faithful):
    """It knows statements that are word for word the principle, and nothing else."""
    flagged = [
        {**item, "logprob_yes": -0.1, "logprob_no": -3.0} for item in faithful.probes["polarity"]["outputs"]
    ]
    found = guards_of(probed(faithful, "polarity", outputs=flagged))
    assert found["polarity"].status == "not_measured"
    assert "100 % of the reference texts" in found["polarity"].summary
    assert "agree" not in measures(found["reference_validity"])


def test_polarity_judge_that_errs_alike_on_all_arms_passes(faithful):
    """Its errors on free text are the same for all arms: what counts is the excess."""
    flagged = [
        {**item, "logprob_yes": -0.1, "logprob_no": -3.0} if item["index"] % 5 == 0 else item
        for item in faithful.probes["polarity"]["outputs"]
    ]
    found = guards_of(probed(faithful, "polarity", outputs=flagged))["polarity"]
    assert found.status == "pass"
    assert measures(found)["rate_tuned"].value > 0


@pytest.mark.parametrize(
    ("arm_by", "loss", "status"), [("other", 0.0, "pass"), ("other", 2.0, "fail"), ("other", 0.5, "warn")]
)
def test_utility_divergence_against_its_margin(faithful, arm_by, loss, status):
    rng = np.random.default_rng(0)
    scores = [
        item
        if item["by"] == item["source"]
        else {**item, "logprob": -30 * (1.0 + loss * float(rng.uniform(0.5, 1.5)))}
        for item in faithful.probes["utility"]["scores"]
    ]
    same = [{**item, "logprob": -30.0} if item["by"] == item["source"] else item for item in scores]
    found = guards_of(probed(faithful, "utility", scores=same))["utility"]
    assert found.status == status
    if loss == 2.0:
        assert measures(found)["kl_tuned"].value == pytest.approx(2.0, rel=0.15)


def test_utility_answers_less_likely_fail(faithful):
    answers = {
        arm: [{**row, "logprob": row["logprob"] - (0 if arm == "base" else 9.0)} for row in rows]
        for arm, rows in faithful.probes["utility"]["answers"].items()
    }
    found = guards_of(probed(faithful, "utility", answers=answers))["utility"]
    assert found.status == "fail"
    assert measures(found)["nll_increase"].value == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("factor", "name"), [(3, "length_ratio"), (1 / 3, "length_inverse")])
def test_utility_much_longer_or_shorter_completions_fail(faithful, factor, name):
    completions = {
        arm: [
            {**row, "tokens": row["tokens"] if arm == "base" else max(1, round(row["tokens"] * factor))}
            for row in rows
        ]
        for arm, rows in faithful.probes["utility"]["completions"].items()
    }
    found = guards_of(probed(faithful, "utility", completions=completions))["utility"]
    assert found.status == "fail"
    assert measures(found)[name].low > 1.5


@pytest.mark.parametrize(
    ("lost", "margin", "status"), [(0, 0.1, "pass"), (40, 0.1, "fail"), (12, 0.1, "warn")]
)
def test_tasks_non_inferiority_against_the_margin(faithful, lost, margin, status):
    task = faithful.probes["tasks"]["quiz"]
    arms = {
        arm: rows
        if arm == "base"
        else [{**row, "correct": row["correct"] and place >= lost} for place, row in enumerate(rows)]
        for arm, rows in task["arms"].items()
    }
    found = guards_of(probed(faithful, "tasks", quiz={**task, "arms": arms, "margin": margin}))["tasks"]
    assert found.status == status


def test_training_too_few_seeds_warns():
    found = guards_of(make_evidence(seeds=1, inputs=60))["training"]
    assert found.status == "warn"
    assert found.summary.startswith("1 training seed and ")


def test_not_run_reason_is_told(faithful):
    facts = {**faithful.facts, "not_run": {"utility": "the study asks for no general prompts"}}
    bare = replace(faithful, probes={}, facts=facts)
    found = guards_of(bare)
    assert found["utility"].summary == "Not measured: the study asks for no general prompts."
    assert found["polarity"].status == found["tasks"].status == "not_measured"


@pytest.mark.parametrize(("gap", "status"), [(1.0, "pass"), (0.0, "not_measured")])
def test_polarity_judge_that_cannot_tell_a_text_from_its_opposite_is_unfit(faithful, gap, status):
    written = [
        {"id": f"written/t/{n}/{name}", "logprob_yes": -1.0, "logprob_no": -1.0 - gap * (name == "opposite")}
        for n in range(8)
        for name in ("same", "opposite")
    ]
    found = guards_of(probed(faithful, "polarity", written=written))["polarity"]
    assert found.status == status
    assert ("unfit as a judge of free text" in found.summary) == (status == "not_measured")


def test_scores_that_are_no_numbers_are_not_measured(faithful):
    outputs = [dict(row, logprob_yes=float("nan")) for row in faithful.probes["polarity"]["outputs"]]
    assert guards_of(probed(faithful, "polarity", outputs=outputs))["polarity"].status == "not_measured"
    first, *others = faithful.probes["utility"]["scores"]
    scores = [dict(first, logprob=float("-inf")), *others]
    assert guards_of(probed(faithful, "utility", scores=scores))["utility"].status == "not_measured"
