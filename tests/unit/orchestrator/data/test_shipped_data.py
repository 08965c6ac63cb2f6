"""What is shipped is held to the paper and to its own rules."""

import re

import pytest

from services.orchestrator import catalogue
from services.orchestrator.documents import parse_document
from services.orchestrator.domain.principles import parse_principle, similarity
from services.orchestrator.domain.prompts import STAGES
from services.orchestrator.study import Study, resolve

TOPICS = [
    "reasoning-and-interpretability",
    "bias-removal",
    "transparency-and-accountability",
    "security-and-privacy",
    "moral-and-ethical-observations",
    "public-understanding",
]


def test_topics_are_the_papers_six_with_a_sentence_each():
    topics = catalogue.load_topics("ai-for-social-good").topics
    assert [topic.id for topic in topics] == TOPICS
    assert all(topic.description.endswith(".") for topic in topics)


def test_ten_commandments_map_is_the_papers():
    mapping = catalogue.load_reference_set("ten-commandments").topics
    numbers = [[int(name.removeprefix("commandment-")) for name in mapping[topic]] for topic in TOPICS]
    assert numbers == [[9], [9], [9, 3], [8, 9, 10], [4, 5, 8, 9, 10], [8]]


def test_gdpr_map_is_the_papers():
    mapping = catalogue.load_reference_set("gdpr-article-5").topics
    assert [mapping[topic] for topic in TOPICS] == [
        ("lawfulness-fairness-and-transparency",),
        ("accuracy", "fairness"),
        ("transparency", "accountability"),
        ("integrity-and-confidentiality",),
        ("purpose-limitation", "data-minimisation", "storage-limitation"),
        ("lawfulness-fairness-and-transparency",),
    ]


SETS = [
    "eu-ai-act",
    "gdpr-article-5",
    "ieee-ethically-aligned-design",
    "oecd-ai-principles",
    "schwartz-basic-values",
    "ten-commandments",
    "universal-declaration-of-human-rights",
]


def test_seven_reference_sets_are_shipped():
    assert [found.id for found in catalogue.list_reference_sets()] == SETS


def test_the_sets_have_the_principles_that_their_sources_number():
    counts = {found.id: len(found.principles) for found in catalogue.list_reference_sets()}
    assert counts["universal-declaration-of-human-rights"] == 30
    assert counts["oecd-ai-principles"] == 10  # five for AI actors, five for governments
    assert counts["eu-ai-act"] == 7 + 8  # recital 27, articles 8 to 15
    assert counts["ieee-ethically-aligned-design"] == 8
    assert counts["schwartz-basic-values"] == 10


@pytest.mark.parametrize("set_id", SETS)
def test_every_set_maps_every_topic_of_the_paper(set_id):
    assert set(catalogue.load_reference_set(set_id).topics) == set(TOPICS)


@pytest.mark.parametrize("set_id", SETS)
def test_small_prompts_begin_the_answer_in_the_sets_own_register(set_id):
    stage = catalogue.load_prompt_set("small").stage("aligned", set_id)
    texts = [principle.text for principle in catalogue.load_reference_set(set_id).principles]
    opening = stage.prefill.split()[0]
    assert stage.prefill
    assert any(opening in text for text in texts)


@pytest.mark.parametrize("set_id", SETS)
def test_reference_sets_say_source_and_responsibility(set_id):
    reference_set = catalogue.load_reference_set(set_id)
    assert all(principle.source and principle.text.endswith(".") for principle in reference_set.principles)
    assert reference_set.changes
    assert reference_set.steward
    assert reference_set.responsible
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", reference_set.review_date)


@pytest.mark.parametrize("prompt_set_id", ["instruct", "small"])
@pytest.mark.parametrize("set_id", [*SETS, "someone-elses"])
def test_prompt_sets_realigned_prompt_names_no_reference(prompt_set_id, set_id):
    prompts = catalogue.load_prompt_set(prompt_set_id)
    topic = catalogue.load_topics("ai-for-social-good").topics[0]
    prompt = prompts.render_realigned(topic, "Explain results.", set_id)
    text = " ".join(message.content for message in prompt.messages)
    assert "reflects ethical awareness" in text
    assert not re.search(
        r"commandment|GDPR|data protection|personal data|you shall|human right|AI Act|OECD|IEEE|Schwartz",
        text,
        re.I,
    )
    assert prompt.prefill == ""
    assert prompts.stage("realigned", set_id) == prompts.stages["realigned"]


@pytest.mark.parametrize("prompt_set_id", ["instruct", "small"])
def test_prompt_sets_every_stage_renders_for_every_topic_and_reference_set(prompt_set_id):
    prompts = catalogue.load_prompt_set(prompt_set_id)
    for reference_set in catalogue.list_reference_sets():
        for topic in catalogue.load_topics("ai-for-social-good").topics:
            references = reference_set.principles_for(topic.id)
            prompt = prompts.render_aligned(topic, "Explain {results}.", reference_set.id, references)
            assert "Explain {results}." in prompt.messages[-1].content
            assert all(reference.text in prompt.messages[-1].content for reference in references)
            assert topic.title in prompts.render_original(topic, reference_set.id).messages[-1].content


@pytest.mark.parametrize("set_id", [*SETS, "someone-elses"])
def test_small_prompts_shots_parse_as_principles_and_differ(set_id):
    prompts = catalogue.load_prompt_set("small")
    for stage in STAGES:
        answers = prompts.shot_answers(stage, set_id)
        assert all(parse_principle(answer).principle == answer for answer in answers)
        # What a begun answer makes them share is no likeness.
        begun = prompts.stage(stage, set_id).prefill
        own = [answer.removeprefix(begun) for answer in answers]
        assert all(similarity(a, b) < 0.6 for a in own for b in own if a != b)
    references = [p.text for s in catalogue.list_reference_sets() for p in s.principles]
    assert all(similarity(a, r) < 0.8 for a in prompts.shot_answers("aligned", set_id) for r in references)


@pytest.mark.parametrize("study_id", [study.id for study in catalogue.list_shipped_studies()])
def test_shipped_studies_resolve(study_id):
    study = parse_document(catalogue.load_shipped_study(study_id).text, Study)
    resolved = resolve(study)
    assert len(resolved.topics) == 6


def test_template_writes_out_every_setting_with_its_default():
    text = catalogue.load_shipped_study("template").text
    assert parse_document(text, Study) == Study(name="my-study")
    for key, value in Study(name="x").model_dump().items():
        assert re.search(rf"^(# )?{key}:", text, re.M), key
        for inner in value if isinstance(value, dict) else ():
            assert re.search(rf"^  {inner}:", text, re.M), inner


@pytest.mark.parametrize(
    "study_id", [s.id for s in catalogue.list_shipped_studies() if s.id.startswith("paper")]
)
def test_paper_studies_change_nothing_but_model_encoder_and_set(study_id):
    study = parse_document(catalogue.load_shipped_study(study_id).text, Study)
    given = {"name", "model", "encoder", "reference_set"}
    assert study.model_dump(exclude=given) == Study(name="x").model_dump(exclude=given)
    assert study.name == study_id


def test_demo_study_runs_two_iterations_of_at_least_ten_principles():
    study = parse_document(catalogue.load_shipped_study("demo").text, Study)
    assert study.principles_per_topic >= 10
    assert study.stop.max_iterations == 2
    assert study.stop.min_relative_improvement < -1
