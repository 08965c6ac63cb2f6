import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from services.common.errors import InvalidInputError
from services.orchestrator.analysis import guards
from services.orchestrator.study import (
    Study,
    check_served,
    prompt_set_digest,
    reference_set_digest,
    resolve,
    study_digest,
)
from services.orchestrator.study_sections import GuardName

OWN_SET = {
    "id": "own",
    "title": "Own",
    "version": "1",
    "review_date": "2027-01-01",
    "steward": "us",
    "responsible": "us",
    "source": "us",
    "principles": [{"id": "open", "heading": "Open", "text": "Be open."}],
    "topics": {"隐私": ["open"], "العدالة": ["open"]},
}
OWN_TOPICS = [
    {"id": "隐私", "title": "隐私", "description": "个人信息由本人掌握。"},
    {"id": "العدالة", "title": "العدالة", "description": "يعامل الناس بالتساوي."},
]


def test_study_defaults_are_the_papers():
    study = Study(name="x")
    assert (study.principles_per_topic, study.reference_set) == (100, "ten-commandments")
    assert (study.split.train, study.split.validation, study.split.test) == (0.6, 0.2, 0.2)
    assert (study.lora.rank, study.lora.alpha, study.lora.dropout) == (16, 32, 0.05)
    assert (study.training.epochs, study.training.batch_size, study.training.learning_rate) == (5, 4, 1e-5)
    assert (study.training.adam_beta1, study.training.adam_beta2, study.training.weight_decay) == (
        0.9,
        0.999,
        0,
    )
    assert (study.training.lr_schedule, study.training.warmup_steps) == ("cosine", 0)
    assert (study.stop.max_iterations, study.stop.min_relative_improvement) == (5, 0.01)
    assert (study.generation.temperature, study.generation.top_p) == (0.7, 0.95)
    assert study.generation.max_new_tokens == 96


def test_study_dumped_as_json_and_read_again_is_equal():
    study = Study.model_validate({"name": "x", "reference_set": OWN_SET, "topics": OWN_TOPICS, "seed": 4})
    assert Study.model_validate(study.model_dump(mode="json")) == study


def test_study_is_frozen():
    study = Study(name="x")
    with pytest.raises(ValidationError):
        study.seed = 1


def test_resolve_own_set_and_topics_in_other_scripts():
    resolved = resolve(Study.model_validate({"name": "x", "reference_set": OWN_SET, "topics": OWN_TOPICS}))
    assert [topic.id for topic in resolved.topics] == ["隐私", "العدالة"]
    assert resolved.reference_set.principles_for("隐私")[0].text == "Be open."


@pytest.mark.parametrize("reference_set", ["ten-commandments", "gdpr-article-5", OWN_SET])
def test_resolve_stored_study_resolved_again_is_equal(reference_set):
    topics = OWN_TOPICS if reference_set is OWN_SET else "ai-for-social-good"
    study = Study.model_validate({"name": "x", "reference_set": reference_set, "topics": topics})
    first = resolve(study)
    second = resolve(Study.model_validate(first.as_json()))
    assert (first.topics, first.reference_set, first.prompt_set) == (
        second.topics,
        second.reference_set,
        second.prompt_set,
    )
    assert study_digest(first) == study_digest(second)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"reference_set": "eleven"}, "reference_set", "there are: eu-ai-act, gdpr-article-5"),
        ({"topics": "none"}, "topics", "no packaged topic set 'none'"),
        ({"prompt_set": "../instruct"}, None, "must be 1 to 80"),
        ({"prompt_set": "huge"}, "prompt_set", "there are: instruct, small"),
        (
            {"topics": OWN_TOPICS},
            "reference_set.topics.隐私",
            "has no reference principle in 'ten-commandments'",
        ),
        ({"topics": [OWN_TOPICS[0]] * 2, "reference_set": OWN_SET}, "topics[1].id", "given twice"),
    ],
)
def test_resolve_parts_that_do_not_fit_names_the_path(changes, path, words):
    if path is None:
        with pytest.raises(ValidationError, match=words):
            Study.model_validate({"name": "x", **changes})
        return
    with pytest.raises(InvalidInputError) as caught:
        resolve(Study.model_validate({"name": "x", **changes}))
    errors = caught.value.details["errors"]
    assert errors[0]["path"] == path
    assert words in errors[0]["message"]


def test_study_digest_changes_with_results_not_with_names():
    base = study_digest(resolve(Study(name="x")))
    assert base == study_digest(resolve(Study(name="y", description="why")))
    assert base != study_digest(resolve(Study(name="x", seed=1)))
    assert base != study_digest(resolve(Study(name="x", prompt_set="small")))


def test_set_digests_differ_between_sets():
    ten, gdpr = (
        resolve(Study(name="x", reference_set=name)) for name in ("ten-commandments", "gdpr-article-5")
    )
    assert reference_set_digest(ten.reference_set) != reference_set_digest(gdpr.reference_set)
    assert prompt_set_digest(ten.prompt_set) == prompt_set_digest(gdpr.prompt_set)


@pytest.mark.parametrize(
    ("asked", "served", "fits"),
    [
        (None, "anything", True),
        ("meta-llama/Llama-3.2-3B-Instruct", "meta-llama/Llama-3.2-3B-Instruct", True),
        ("SmolLM2-135M-Instruct", "/models/SmolLM2-135M-Instruct/", True),
        ("google/gemma-2-2b-it", "/models/gemma-2-2b-it", True),
        ("google/gemma-2-2b-it", "meta-llama/Llama-3.2-3B-Instruct", False),
    ],
)
def test_check_served_full_id_or_folder_name(asked, served, fits):
    assert check_served(Study(name="x", model=asked), "model", served) is fits


def test_resolve_other_reference_set_by_default_the_packaged_one_that_is_not_the_studys():
    assert resolve(Study(name="x")).other_reference_set.id == "gdpr-article-5"
    gdpr = resolve(Study(name="x", reference_set="gdpr-article-5"))
    assert gdpr.other_reference_set.id == "ten-commandments"
    assert gdpr.as_json()["arms"]["other_reference_set"]["principles"]
    stored = resolve(Study.model_validate(gdpr.as_json()))
    assert stored.other_reference_set == gdpr.other_reference_set
    assert study_digest(stored) == study_digest(gdpr)


@pytest.mark.parametrize("changes", [{"arms": {"controls": ["shuffled"]}}, {"measure_only": True}])
def test_resolve_arm_other_not_asked_for_no_other_set(changes):
    assert resolve(Study.model_validate({"name": "x", **changes})).other_reference_set is None


def test_resolve_default_other_set_without_the_topics_none():
    resolved = resolve(Study.model_validate({"name": "x", "reference_set": OWN_SET, "topics": OWN_TOPICS}))
    assert resolved.other_reference_set is None
    assert resolve(Study.model_validate(resolved.as_json())).other_reference_set is None


@pytest.mark.parametrize(
    ("other", "path", "words"),
    [
        ("eleven", "arms.other_reference_set", "no packaged reference set 'eleven'"),
        ("ten-commandments", "arms.other_reference_set", "the study's own reference set"),
        (OWN_SET, "arms.other_reference_set.topics.reasoning-and-interpretability", "no reference principle"),
    ],
)
def test_resolve_other_set_that_does_not_fit_names_the_path(other, path, words):
    with pytest.raises(InvalidInputError) as caught:
        resolve(Study.model_validate({"name": "x", "arms": {"other_reference_set": other}}))
    first = caught.value.details["errors"][0]
    assert first["path"] == path
    assert words in first["message"]


def test_resolve_unknown_general_prompts_says_which_there_are() -> None:
    study = Study.model_validate({"name": "demo", "guards": {"general_prompts": "none"}})
    with pytest.raises(InvalidInputError, match=r"guards.general_prompts: no packaged .* there are: general"):
        resolve(study)


def test_study_two_tasks_of_one_name_are_refused() -> None:
    tasks = [{"name": "sums", "sha256": digit * 64} for digit in "ab"]
    with pytest.raises(ValidationError, match="tasks given twice: sums"):
        Study.model_validate({"name": "demo", "guards": {"tasks": tasks}})


def test_gate_required_guard_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValidationError, match=r"'diversity'.*'utility'"):
        Study.model_validate({"name": "x", "gate": {"required": ["divrsity"]}})


def test_gate_required_guards_are_those_of_the_analysis():
    sources = Path(guards.__file__).parent.glob("*.py")
    made = {name for path in sources for name in re.findall(r'^ID: Final = "(\w+)"', path.read_text(), re.M)}
    assert set(get_args(GuardName)) == made
