"""Texts made out of the kept ones: negations, masks, marker words, and what must be embedded."""

from dataclasses import replace

import pytest

from services.orchestrator import catalogue
from services.orchestrator.analysis import derived
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.markers import REGISTERS, markers_of
from services.orchestrator.analysis.text import NOTHING_LEFT, count_markers, mask, negate, tokenise
from tests.evidence import make_evidence


@pytest.mark.parametrize(
    ("text", "opposite"),
    [
        ("AI must explain itself.", "AI must not explain itself."),
        ("You shall not steal; do not take what is another's.", "You shall steal; take what is another's."),
        (
            "You shall not bear false witness; speak the truth.",
            "You shall bear false witness; do not speak the truth.",
        ),
        ("You shall not covet a house, nor anything else.", "You shall covet a house, or anything else."),
        ("AI systems can't share data.", "AI systems can share data."),
        ("Data shall be kept no longer than needed.", "Data shall be kept longer than needed."),
        ("No one may be tortured.", "Everyone may be tortured."),
        ("Everyone has the right to life.", "No one has the right to life."),
        ("Users ought to be told.", "Users ought not to be told."),
        ("A system should always tell the truth.", "A system should never tell the truth."),
        ("Data shall only be used with consent.", "Data shall not be used with consent."),
        ("The system has a log.", "The system does not have a log."),
        ("It matters to have standing.", "It does not matter to have standing."),
        ("AI respects people.", "AI does not respect people."),
        ("Never lie to users.", "Always lie to users."),
        ("What you may do shall be written down.", "What you may do shall not be written down."),
    ],
)
def test_negate_rules_give_the_opposite(text, opposite):
    assert negate(text) == opposite


@pytest.mark.parametrize(
    "text",
    [
        "AI must ensure that no one is harmed.",
        "Data shall be used fairly, without deceiving people.",
        "Data shall be used only for the stated purpose.",
        "人工知能は公平でなければならない",
        "Feedback",
        "",
    ],
)
def test_negate_double_negation_or_no_rule_gives_none(text):
    assert negate(text) is None


@pytest.mark.parametrize("set_id", [item.id for item in catalogue.list_reference_sets()])
def test_negate_shipped_sets_negates_most_principles_and_never_doubly(set_id):
    texts = [principle.text for principle in catalogue.load_reference_set(set_id).principles]
    opposites = [opposite for text in texts if (opposite := negate(text)) is not None]
    assert len(opposites) >= 0.5 * len(texts)
    assert all("not not" not in text and "not never" not in text for text in opposites)


def test_mask_markers_whole_words_any_case_keeps_the_negation():
    assert (
        mask("You shall not steal a neighbour's youth.", ("you shall", "you"))
        == "not steal a neighbour's youth."
    )
    assert mask("Nothing here.", ("gdpr",)) == "Nothing here."
    assert mask("You shall", ("you shall",)) == NOTHING_LEFT
    assert mask("Personal data, as such.", ("personal data",)) == "as such."


def test_count_markers_longer_ones_first_counts_each_place_once():
    assert (
        count_markers("Personal data shall be personal data.", ("personal data", "personal data shall")) == 2
    )
    assert count_markers("The controllers’ duty", ("controllers' duty",)) == 1


def test_tokenise_dense_script_gives_characters():
    assert tokenise("Fair play, 公平!") == ("fair", "play", "公", "平")


def test_markers_packaged_sets_have_a_register():
    assert {item.id for item in catalogue.list_reference_sets()} == set(REGISTERS)


def test_markers_unknown_set_learns_its_register_and_not_its_subjects():
    found = markers_of(make_evidence(guards={"markers": ("Hear ye",)}))
    assert found.learnt
    assert {"you shall", "you", "hear ye"} <= set(found.words)
    register = {"you", "shall", "bear", "false", "witness", "against", "neighbor", "honor", "covet", "steal"}
    assert all(set(word.split()) <= register for word in found.words if word != "hear ye")


def test_required_texts_names_kept_masked_negated_and_second():
    evidence = replace(make_evidence(topics=2, inputs=10), vectors={})
    needed = derived.required_texts(evidence)
    assert {output.text for output in evidence.outputs} <= set(needed["primary"])
    principle = derived.reference_principles(evidence)["topic-0"][0]
    assert {principle, negate(principle)} <= set(needed["primary"]) | {None}
    assert {opposite for _, _, opposite in derived.calibration_texts(evidence)} <= set(needed["primary"])
    test = set(evidence.keys("test"))
    base = {
        output.text for output in evidence.outputs if output.arm == ArmKind.BASE_P3 and output.key in test
    }
    assert base <= set(needed["second"])
    markers = markers_of(evidence).words
    assert {mask(text, markers) for text in base} <= set(needed["primary"])
    assert needed == derived.required_texts(evidence)


def test_required_texts_other_language_negates_nothing():
    evidence = make_evidence(topics=2, inputs=10)
    spoken = {**evidence.study["reference_set"], "languages": ["de"]}
    german = replace(evidence, study={**evidence.study, "reference_set": spoken})
    assert derived.calibration_texts(german) == ()
    assert set(derived.negated_principles(german).values()) == {()}


def test_sample_more_than_asked_keeps_the_order_and_follows_the_seed():
    assert derived.sample(range(5), 10, 0) == [0, 1, 2, 3, 4]
    few = derived.sample(range(1000), 10, 3)
    assert few == sorted(few) == derived.sample(range(1000), 10, 3)
    assert few != derived.sample(range(1000), 10, 4)
