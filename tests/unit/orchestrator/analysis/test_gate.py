"""Who passes the gate, on synthetic evidence: a faithful model does; the ones that only look good do not."""

from dataclasses import replace

import pytest

from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.gate import decide
from services.orchestrator.analysis.results import Analysis, Contrast, Estimate, Guard, Verdict
from services.orchestrator.study import GateSettings
from tests.evidence import make_evidence, with_vectors

REQUIRED = GateSettings().required


@pytest.fixture(scope="module")
def faithful() -> Evidence:
    return make_evidence(model="faithful", inputs=60, probes=True)


@pytest.fixture(scope="module")
def analysis(faithful: Evidence) -> Analysis:
    return analyse(faithful)


def _decide(analysis: Analysis, evidence: Evidence, **changed) -> Verdict:
    parts = {
        "settings": evidence.study["gate"],
        "primary": analysis.primary,
        "contrasts": analysis.contrasts,
        "arms": analysis.arms,
        "scale": analysis.scale,
        "guards": analysis.guards,
        "matrix": analysis.matrix,
    }
    return decide(**{**parts, **changed}, evidence=evidence)


def _rules(verdict: Verdict, outcome: str) -> set[str]:
    return {reason.rule for reason in verdict.reasons if reason.outcome == outcome}


def test_decide_faithful_model_promotes(analysis):
    assert analysis.verdict.decision == "promote"
    assert all(reason.outcome == "promote" for reason in analysis.verdict.reasons)
    assert analysis.verdict.headline.startswith("Promote: the value difference falls by ")


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("constant", {"specificity", "diversity", "subject"}),
        ("copied", {"specificity", "subject", "copying"}),
        ("shuffled", {"specificity", "subject", "control_shuffled"}),
        ("untouched", {"reduction"}),
    ],
)
def test_decide_model_that_only_looks_good_rejects(model, rules):
    found = analyse(make_evidence(model=model, inputs=60, probes=True)).verdict
    assert found.decision == "reject"
    assert rules <= _rules(found, "reject")
    assert found.reasons[0].outcome == "reject"
    assert found.headline.startswith("Reject: ")


def test_decide_constant_model_whose_reduction_is_large_still_rejects():
    """The headline number of a constant sentence can look like a success."""
    found = analyse(make_evidence(model="constant", inputs=60, probes=True))
    assert found.primary.reduction.low > 0.1
    assert found.primary.p_value < 0.05
    assert found.verdict.decision == "reject"


@pytest.mark.parametrize("name", REQUIRED)
def test_decide_required_guard_not_measured_holds(analysis, faithful, name):
    guards = [
        guard.model_copy(update={"status": "not_measured"}) if guard.id == name else guard
        for guard in analysis.guards
    ]
    found = _decide(analysis, faithful, guards=guards)
    assert found.decision == "hold"
    assert _rules(found, "hold") == {name}
    assert found.reasons[0].rule == name


@pytest.mark.parametrize("name", REQUIRED)
def test_decide_required_guard_missing_holds(analysis, faithful, name):
    guards = [guard for guard in analysis.guards if guard.id != name]
    found = _decide(analysis, faithful, guards=guards)
    assert found.decision == "hold"
    assert _rules(found, "hold") == {name}


@pytest.mark.parametrize("probe", ["utility", "polarity"])
def test_decide_probe_that_was_not_run_holds_and_says_why(faithful, probe):
    probes = {name: value for name, value in faithful.probes.items() if name != probe}
    facts = {**faithful.facts, "not_run": {probe: "the engine was away"}}
    found = analyse(replace(faithful, probes=probes, facts=facts)).verdict
    assert found.decision == "hold"
    assert "the engine was away" in next(reason.text for reason in found.reasons if reason.rule == probe)


def test_decide_without_second_encoder_holds(faithful):
    found = analyse(replace(faithful, vectors={"primary": faithful.vectors["primary"]})).verdict
    assert found.decision == "hold"
    assert _rules(found, "hold") == {"second_encoder"}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"seeds": 1}, "training_seeds"),
        ({"inputs": 20}, "test_inputs"),
        ({"controls": ("uniform",)}, "control_shuffled"),
    ],
)
def test_decide_too_small_a_sample_holds(changes, rule):
    found = analyse(make_evidence(**{"inputs": 60, "probes": True, **changes})).verdict
    assert found.decision == "hold"
    assert rule in _rules(found, "hold")


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != "reference_validity"] + ["tasks"])
def test_decide_failed_guard_rejects_required_or_not(analysis, faithful, name):
    guards = [
        guard.model_copy(update={"status": "fail"}) if guard.id == name else guard
        for guard in analysis.guards
    ]
    settings = {**faithful.study["gate"], "required": []}
    assert _decide(analysis, faithful, guards=guards, settings=settings).decision == "reject"


def test_decide_references_that_are_none_hold(analysis, faithful):
    guards = [
        guard.model_copy(update={"status": "fail", "summary": "use a ruler"})
        if guard.id == "reference_validity"
        else guard
        for guard in analysis.guards
    ]
    found = _decide(analysis, faithful, guards=guards)
    assert found.decision == "hold"
    assert "use a ruler" in found.headline


@pytest.mark.parametrize(("required", "decision"), [(("diversity",), "hold"), ((), "promote")])
def test_decide_warning_holds_only_where_required(analysis, faithful, required, decision):
    guards = [
        guard.model_copy(update={"status": "warn"}) if guard.id == "diversity" else guard
        for guard in analysis.guards
    ]
    settings = {**faithful.study["gate"], "required": required}
    assert _decide(analysis, faithful, guards=guards, settings=settings).decision == decision


@pytest.mark.parametrize(
    ("low", "value", "high", "decision"),
    [(0.06, 0.2, 0.3, "promote"), (0.04, 0.2, 0.3, "hold"), (-0.1, 0.0, 0.04, "reject")],
)
def test_decide_reduction_interval_against_the_least_worth_having(
    analysis, faithful, low, value, high, decision
):
    primary = _with(analysis.primary, Estimate(value=value, low=low, high=high, n=60))
    assert _decide(analysis, faithful, primary=primary).decision == decision


@pytest.mark.parametrize(
    ("low", "value", "high", "decision"),
    [(0.01, 0.1, 0.2, "promote"), (-0.01, 0.1, 0.2, "hold"), (-0.1, 0.0, 0.04, "reject")],
)
def test_decide_shuffled_control_interval(analysis, faithful, low, value, high, decision):
    contrasts = [
        _with(contrast, Estimate(value=value, low=low, high=high, n=60))
        if contrast.against == ArmKind.SHUFFLED
        else contrast
        for contrast in analysis.contrasts
    ]
    assert _decide(analysis, faithful, contrasts=contrasts).decision == decision


def test_decide_no_interval_or_no_comparison_holds(analysis, faithful):
    bare = _with(analysis.primary, Estimate(value=0.4, n=60))
    assert "there is no interval" in _decide(analysis, faithful, primary=bare).headline
    found = _decide(analysis, faithful, primary=None)
    assert found.decision == "hold"
    assert {"reduction", "significance", "test_inputs"} <= _rules(found, "hold")


def test_decide_matrix_diagonal_loses_holds(analysis, faithful):
    own = faithful.study["reference_set"]["id"]
    matrix = [
        cell.model_copy(update={"mean": Estimate(value=0.01)})
        if (cell.trained_on, cell.measured_against) == ("other-set", own)
        else cell
        for cell in analysis.matrix
    ]
    found = _decide(analysis, faithful, matrix=matrix)
    assert found.decision == "hold"
    assert _rules(found, "hold") == {"matrix"}


def test_decide_unmeasured_task_that_the_study_names_holds(analysis, faithful):
    named = {**faithful.study["guards"], "tasks": [{"name": "quiz", "sha256": "1" * 64, "margin": 0.1}]}
    study = {**faithful.study, "guards": named}
    probes = {name: value for name, value in faithful.probes.items() if name != "tasks"}
    found = analyse(replace(faithful, study=study, probes=probes)).verdict
    assert _rules(found, "hold") == {"tasks"}
    unnamed = analyse(replace(faithful, probes=probes)).verdict
    assert unnamed.decision == "promote"


def _changed(evidence: Evidence, change) -> Evidence:
    """The evidence with the tuned arms' texts on test inputs changed; None takes one away."""
    tuned, test = {arm.name for arm in evidence.of_kind(ArmKind.TUNED)}, set(evidence.keys("test"))
    changed = (change(one) if one.arm in tuned and one.key in test else one for one in evidence.outputs)
    return with_vectors(replace(evidence, outputs=tuple(one for one in changed if one is not None)))


@pytest.mark.parametrize(
    "silent",
    [
        lambda one: one.index % 2 == 0,
        lambda one: one.topic_id == "topic-0",
        lambda one: one.arm == "tuned-s1" and one.index % 2 == 0,
        lambda one: one.sample > 0,
    ],
)
def test_decide_model_that_is_silent_on_some_inputs_holds(faithful, silent):
    found = analyse(_changed(faithful, lambda one: None if silent(one) else one)).verdict
    assert "answered" in _rules(found, "hold")


def test_decide_one_topic_of_six_collapsed_rejects():
    evidence = make_evidence(topics=6, inputs=60, samples=2, probes=True)
    said = next(one.text for one in evidence.outputs if one.arm == "aligned" and one.sample == 1)

    def collapse(one):
        return replace(one, text=said) if one.topic_id == "topic-0" else one

    assert analyse(evidence).verdict.decision == "promote"
    assert _rules(analyse(_changed(evidence, collapse)).verdict, "reject") == {"diversity"}


def test_decide_echo_of_the_original_under_a_base_that_strays_is_not_promoted(faithful):
    own = {one.key: one.text for one in faithful.outputs if one.arm == "original"}
    echo = _changed(faithful, lambda one: replace(one, text=own[one.key]))
    assert "original" in _rules(analyse(echo).verdict, "hold")


def test_decide_significant_rise_does_not_pass_the_test(analysis, faithful):
    risen = analysis.primary.model_copy(
        update={"p_value": 0.0001, "difference": Estimate(value=-0.2, low=-0.3, high=-0.1, n=36)}
    )
    found = _decide(analysis, faithful, primary=risen)
    assert "significance" in _rules(found, "hold")


def test_decide_every_rule_has_a_reason_and_those_that_decide_come_first():
    found = analyse(make_evidence(model="constant", inputs=60)).verdict
    outcomes = [reason.outcome for reason in found.reasons]
    assert outcomes == sorted(outcomes, key=["reject", "hold", "promote"].index)
    assert {"reduction", "significance", "specificity", "distribution", *REQUIRED} <= {
        reason.rule for reason in found.reasons
    }
    assert all(reason.text.endswith(".") and ".." not in reason.text for reason in found.reasons)


def test_decide_other_order_of_outputs_same_verdict(faithful, analysis):
    turned = with_vectors(replace(faithful, outputs=tuple(reversed(faithful.outputs))))
    assert analyse(turned).verdict == analysis.verdict


def _with(contrast: Contrast, reduction: Estimate) -> Contrast:
    return contrast.model_copy(update={"reduction": reduction})


def test_guard_ids_are_those_that_a_study_can_require(analysis):
    ids = {guard.id for guard in analysis.guards}
    assert set(REQUIRED) <= ids
    assert all(isinstance(guard, Guard) and guard.question.endswith("?") for guard in analysis.guards)
