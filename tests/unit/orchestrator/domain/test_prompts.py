import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.prompts import (
    Message,
    Prompt,
    PromptSet,
    Shot,
    StagePrompt,
    fill,
    placeholder_faults,
)
from services.orchestrator.domain.reference import ReferencePrinciple
from services.orchestrator.domain.topics import Topic

TOPIC = Topic("privacy", "Privacy", "Data stays with its owner.")
REFERENCES = (ReferencePrinciple("c8", "Do not steal", "You shall not steal."),)
PROMPTS = PromptSet(
    id="test",
    title="Test",
    version="1",
    stages={
        "original": StagePrompt(
            "A principle for {topic}; think of {facet}.",
            system="You write.",
            shots=(Shot("Be kind.", {"topic": "Care", "facet": "age"}),),
        ),
        "aligned": StagePrompt("{principle} by {reference_principles}"),
        "realigned": StagePrompt("Ethically: {principle}"),
    },
    overrides={"ten": {"aligned": StagePrompt("As a commandment: {principle}", prefill="You shall")}},
    facets=("children", "cost"),
)


def test_render_original_with_system_shots_and_facet_goes_through_the_facets():
    assert PROMPTS.render_original(TOPIC, "gdpr", index=3) == Prompt(
        (
            Message("system", "You write."),
            Message("user", "A principle for Care; think of age."),
            Message("assistant", "Be kind."),
            Message("user", "A principle for Privacy; think of cost."),
        )
    )


def test_render_aligned_generic_lists_the_reference_principles():
    prompt = PROMPTS.render_aligned(TOPIC, "Ask first.", "gdpr", REFERENCES)
    assert prompt.messages == (Message("user", "Ask first. by - Do not steal: You shall not steal."),)
    assert prompt.prefill == ""


def test_render_aligned_overridden_for_the_reference_set_begins_the_answer():
    prompt = PROMPTS.render_aligned(TOPIC, "Ask first.", "ten", REFERENCES)
    assert prompt == Prompt((Message("user", "As a commandment: Ask first."),), prefill="You shall")


def test_render_realigned_stage_without_override_is_the_general_one():
    assert PROMPTS.render_realigned(TOPIC, "Ask.", "ten").messages[0].content == "Ethically: Ask."


@given(st.text())
def test_fill_any_value_is_put_in_as_it_is(value):
    assert fill("a {principle} b {not a name} {}", {"principle": value}) == f"a {value} b {{not a name}} {{}}"


def test_fill_value_that_looks_like_a_placeholder_is_not_filled_again():
    assert fill("{principle}", {"principle": "{topic}", "topic": "x"}) == "{topic}"


@pytest.mark.parametrize(
    ("stage", "prompt", "words"),
    [
        ("original", StagePrompt("{topic} {who}"), "unknown placeholder {who}"),
        ("original", StagePrompt("{topic}", system="{principle}"), "unknown placeholder {principle}"),
        ("realigned", StagePrompt("nothing"), "must contain {principle}"),
        ("realigned", StagePrompt("{principle} {reference_principles}"), "unknown placeholder"),
        ("realigned", StagePrompt("{principle}", shots=(Shot("x"),)), "shot 1"),
        ("realigned", StagePrompt("{principle}", prefill="You shall"), "takes no prefill"),
        ("original", StagePrompt("{topic}", shots=(Shot("x", {"tpic": "y"}),)), "unknown {tpic}"),
        (
            "original",
            StagePrompt("{topic}", shots=(Shot("No", {"topic": "y"}),), prefill="You"),
            "begin with the prefill",
        ),
    ],
)
def test_placeholder_faults_wrong_template_says_what_is_wrong(stage, prompt, words):
    assert any(words in fault for fault in placeholder_faults(stage, prompt))


def test_placeholder_faults_right_templates_none():
    assert [
        fault for stage, prompt in PROMPTS.stages.items() for fault in placeholder_faults(stage, prompt)
    ] == []


def test_render_reference_puts_the_principles_before_the_third_prompt_and_changes_nothing_else():
    references = (ReferencePrinciple("truth", "Truth", "Be true."),)
    third = PROMPTS.render_realigned(TOPIC, "Explain.", "any")
    told = PROMPTS.render_reference(TOPIC, "Explain.", "any", references)
    assert told.messages[:-1] == third.messages[:-1]
    assert told.prefill == third.prefill
    asked = told.messages[-1].content
    assert asked.endswith("\n\n" + third.messages[-1].content)
    assert asked.startswith("Hold to these principles:\n- Truth: Be true.")
