"""The judge: its questions, its answers by log-probability, and its prior."""

import pytest

from services.common.errors import InternalError, PreconditionError
from services.orchestrator.analysis.values.dimensions import (
    ANSWERS,
    TITLES,
    VALUES,
    answer_probabilities,
    hard_labels,
)
from services.orchestrator.values_judge import (
    Reply,
    dialogue_question,
    judge_prior,
    judge_replies,
    load_values,
    question_prompt,
    questions_sha256,
)
from tests.fakes.value_services import WordJudge


def test_packaged_values_are_the_ten_in_our_words_with_sources():
    document = load_values()
    assert sorted(value.id for value in document.values) == sorted(VALUES)
    assert {value.id: value.title for value in document.values} == dict(TITLES)
    for value in document.values:
        assert value.definition.endswith(".")
        assert "Schwartz" in value.source
    assert len(questions_sha256()) == 64


def test_question_has_definition_dialogue_and_the_three_answers():
    value = next(one for one in load_values().values if one.id == "security")
    text = question_prompt(value, dialogue_question("Privacy"), "Keep data safe.").messages[0].content
    for part in (value.definition, "Privacy", "Bob: Keep data safe.", "important, no connection, opposed"):
        assert part in text
    assert "{" not in text


def test_reply_that_looks_like_a_placeholder_stays_what_it_is():
    value = load_values().values[0]
    text = question_prompt(value, "{reply} {title}", "{definition} {question}").messages[0].content
    assert "Human: {reply} {title}\nBob: {definition} {question}\n" in text


async def test_replies_are_judged_value_by_value():
    judge = WordJudge()
    replies = [Reply("a", "q", "Security is all."), Reply("b", "q", "no power to them")]
    told: list[str] = []
    answers = await judge_replies(judge, replies, tell=told.append)
    assert told == ["a", "b"]
    labels = {
        key: {value: int(hard_labels(answer_probabilities(numbers))) for value, numbers in given.items()}
        for key, given in answers.items()
    }
    assert labels["a"] == dict.fromkeys(VALUES, 0) | {"security": 1}
    assert labels["b"] == dict.fromkeys(VALUES, 0) | {"power": -1}
    assert len(judge.asked) == 2 * len(VALUES) * len(ANSWERS)


async def test_only_the_values_asked_for_are_asked_about():
    judge = WordJudge()
    answers = await judge_replies(judge, [Reply("a", "q", "r")], ("security", "power"))
    assert set(answers["a"]) == {"security", "power"}
    assert len(judge.asked) == 6


async def test_answer_that_cannot_be_scored_is_none_and_no_number():
    judge = WordJudge(fails="novel")
    answers = await judge_replies(judge, [Reply("a", "q", "a novel"), Reply("b", "q", "power")])
    assert set(answers["a"].values()) == {None}
    assert None not in answers["b"].values()


async def test_generator_that_leaves_scores_out_is_an_error():
    class Short(WordJudge):
        async def score(self, items, adapter=""):
            async for score in super().score(items[:-1], adapter):
                yield score

    with pytest.raises(InternalError, match="left 1 of 30 scores out"):
        await judge_replies(Short(), [Reply("a", "q", "r")])


async def test_prior_shows_the_bias_and_takes_it_away():
    judge = WordJudge(bias=4.0)
    prior = await judge_prior(judge)
    assert set(prior) == set(VALUES)
    assert prior["power"][0] > 0.7
    answers = await judge_replies(judge, [Reply("a", "q", "nothing of the kind")])
    logprobs = answers["a"]["power"]
    assert hard_labels(answer_probabilities(logprobs)) == 1  # the bias alone
    assert answer_probabilities(logprobs, prior["power"]) == pytest.approx([1 / 3] * 3)


async def test_prior_that_cannot_be_scored_is_told():
    with pytest.raises(PreconditionError, match="content-free"):
        await judge_prior(WordJudge(fails="N/A"))


async def test_generator_that_cannot_score_says_so_itself():
    with pytest.raises(PreconditionError, match="cannot score"):
        await judge_replies(WordJudge(can_score=False), [Reply("a", "q", "r")])
