import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.principles import (
    NearDuplicates,
    Outcome,
    near_duplicate_rate,
    parse_principle,
    similarity,
)

PLAIN = "AI systems must explain their decisions to the people they affect."


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"  {PLAIN}\n",
        f"Sure, here is a principle: {PLAIN}",
        f"Sure! Here's one principle:\n\n{PLAIN}",
        f"Certainly. {PLAIN}",
        f"I'm glad to see you here. {PLAIN}",
        f"Here are three principles:\n1. {PLAIN}\n2. AI must be safe.\n3. AI must be fair.",
        f"1) {PLAIN}",
        f"(1) {PLAIN}",
        f"- {PLAIN}",
        f"> {PLAIN}",
        f"• **{PLAIN}**",
        f"**Principle 1:** {PLAIN}",
        f"Principle: {PLAIN}",
        f"**Aligned principle**: “{PLAIN}”",
        f"Principle of Transparency: {PLAIN}",
        f"**Principle of Transparency**\n{PLAIN}",
        f"## Transparency\n\n{PLAIN}",
        f'"{PLAIN}"',
        f"«{PLAIN}»",
        f'"{PLAIN[:-1]}".',
        f"{PLAIN} This means that every decision needs a reason.",
        f"<think>What do they want?\nA principle.</think>\n{PLAIN}",
    ],
)
def test_parse_principle_wrapped_gives_the_bare_sentence(text):
    parsed = parse_principle(text)
    assert (parsed.principle, parsed.outcome) == (PLAIN, Outcome.OK)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You shall not steal. Do not take data that is not yours. And more.",
         "You shall not steal. Do not take data that is not yours."),
        ("Use tools, e.g. audits, to find unfair results. Then act.",
         "Use tools, e.g. audits, to find unfair results."),
        ("Systems such as those of the U.S. Government must be open to all. Yes.",
         "Systems such as those of the U.S. Government must be open to all."),
        ("AI must reach an accuracy of 99.5 percent before it decides. Or not.",
         "AI must reach an accuracy of 99.5 percent before it decides."),
        ('Say "I do not know" when you do not know the answer.',
         'Say "I do not know" when you do not know the answer.'),
        ("AI systems must explain themselves to all", "AI systems must explain themselves to all"),
        ("Should AI be fair? It must treat every person the same way.",
         "It must treat every person the same way."),
        ("As an AI system, I must be honest with the people I serve.",
         "As an AI system, I must be honest with the people I serve."),
        ("A system must never say that it cannot help a person in danger.",
         "A system must never say that it cannot help a person in danger."),
    ],
)  # fmt: skip
def test_parse_principle_hard_sentences_are_cut_at_the_right_place(text, expected):
    assert parse_principle(text).principle == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("原则：人工智能系统应当公平对待每一个人，并且说明理由。它还应当透明。",
         "人工智能系统应当公平对待每一个人，并且说明理由。"),
        ("当然，以下是一个原则：\n1、人工智能必须保护每个人的隐私和个人数据。",
         "人工智能必须保护每个人的隐私和个人数据。"),
        ("“人工智能必须保护每个人的隐私。”", "人工智能必须保护每个人的隐私。"),
        ("المبدأ: يجب أن تكون أنظمة الذكاء الاصطناعي عادلة مع جميع الناس. ويجب أن تشرح.",
         "يجب أن تكون أنظمة الذكاء الاصطناعي عادلة مع جميع الناس."),
        ("١. يجب أن تحمي الأنظمة خصوصية كل إنسان وبياناته الشخصية.",
         "يجب أن تحمي الأنظمة خصوصية كل إنسان وبياناته الشخصية."),
        ("هل هذا عدل؟ يجب أن تكون الأنظمة عادلة مع جميع الناس في كل مكان.",
         "يجب أن تكون الأنظمة عادلة مع جميع الناس في كل مكان."),
        ("एआई को हर व्यक्ति के साथ निष्पक्ष व्यवहार करना चाहिए। और भी।",
         "एआई को हर व्यक्ति के साथ निष्पक्ष व्यवहार करना चाहिए।"),
    ],
)  # fmt: skip
def test_parse_principle_other_scripts_give_one_sentence(text, expected):
    assert parse_principle(text).principle == expected


@pytest.mark.parametrize(
    ("text", "finish_reason", "outcome"),
    [
        ("", "stop", Outcome.EMPTY),
        (" \n\t ", "stop", Outcome.EMPTY),
        ("I'm sorry, but I can't help with that.", "stop", Outcome.REFUSAL),
        ("I cannot assist with this request.", "stop", Outcome.REFUSAL),
        ("As an AI language model, I am unable to write principles.", "stop", Outcome.REFUSAL),
        ("抱歉，我无法回答这个问题。", "stop", Outcome.REFUSAL),
        ("آسف، لا أستطيع المساعدة في هذا.", "stop", Outcome.REFUSAL),
        ("Sure, here is a principle:", "stop", Outcome.NO_PRINCIPLE),
        ("What would you like to know?", "stop", Outcome.NO_PRINCIPLE),
        ("Privacy.", "stop", Outcome.NO_PRINCIPLE),
        ("This principle emphasizes the need for trust in AI.", "stop", Outcome.NO_PRINCIPLE),
        ("---\n***", "stop", Outcome.NO_PRINCIPLE),
        ("AI systems should always be open about the", "length", Outcome.TRUNCATED),
        ("<think>Let me think about it for long", "length", Outcome.TRUNCATED),
        ("Shots are not principles of the model.", "stop", Outcome.DUPLICATE),
    ],
)
def test_parse_principle_no_principle_says_why(text, finish_reason, outcome):
    parsed = parse_principle(
        text, finish_reason=finish_reason, shot_answers=["Shots are not  principles of the model"]
    )
    assert (parsed.principle, parsed.outcome) == ("", outcome)


def test_parse_principle_cut_in_its_second_sentence_keeps_the_first():
    parsed = parse_principle(f"{PLAIN} It should also", finish_reason="length")
    assert parsed.principle == PLAIN


@pytest.mark.parametrize(
    ("text", "prefill", "expected"),
    [
        (" not hide the reasons.", "You shall", "You shall not hide the reasons."),
        ("not hide the reasons.", "You shall", "You shall not hide the reasons."),
        ("You shall not hide the reasons.", "You shall", "You shall not hide the reasons."),
        (", as a rule, hide nothing.", "You shall", "You shall, as a rule, hide nothing."),
        ("隐瞒做出决定的理由。", "不可", "不可隐瞒做出决定的理由。"),
    ],
)
def test_parse_principle_begun_answer_is_put_back_in_front(text, prefill, expected):
    assert parse_principle(text, prefill=prefill).principle == expected


@given(st.text(max_size=300), st.sampled_from(["stop", "length"]), st.sampled_from(["", "You shall"]))
def test_parse_principle_any_text_gives_one_line_or_a_reason(text, finish_reason, prefill):
    parsed = parse_principle(text, finish_reason=finish_reason, prefill=prefill)
    assert parsed.ok == bool(parsed.principle)
    assert len(parsed.principle.splitlines()) <= 1
    assert parsed.principle == parsed.principle.strip()


@pytest.mark.parametrize("text", ["(" * 20_000, "**" * 20_000, "Sure: " * 5_000, "a. " * 10_000, "“" * 5_000])
def test_parse_principle_hostile_text_ends_soon(text):
    assert parse_principle(text).outcome in set(Outcome)


def test_similarity_one_word_changed_is_near_and_other_sentences_are_far():
    near = similarity(PLAIN, PLAIN.replace("must", "should"))
    far = similarity(PLAIN, "Companies shall keep personal data only as long as they need it.")
    assert near > 0.85
    assert far < 0.4


def test_similarity_chinese_one_character_changed_is_near_and_other_sentences_are_far():
    first = "人工智能系统应当公平对待每一个人并且说明理由"
    assert similarity(first, first.replace("应当", "必须")) > 0.8
    assert similarity(first, "个人数据的保存时间不得超过必要的期限") < 0.3


@given(st.text(), st.text())
def test_similarity_any_texts_is_symmetric_and_bounded(left, right):
    assert similarity(left, left) == 1.0
    assert similarity(left, right) == similarity(right, left)
    assert 0 <= similarity(left, right) <= 1


def test_near_duplicates_worked_by_hand():
    texts = [PLAIN, PLAIN.upper(), "Something else is said in this one.", PLAIN.replace(".", "!")]
    assert near_duplicate_rate(texts, 0.9) == 0.5
    assert near_duplicate_rate([], 0.9) == 0.0
    assert NearDuplicates(0.9, texts).matches(f"“{PLAIN}”")
    assert not NearDuplicates(0.9).matches(PLAIN)


FEW_LETTERS = st.text(alphabet="abc 人工", max_size=20)


@given(st.lists(st.text(max_size=40) | FEW_LETTERS, max_size=6), FEW_LETTERS, st.floats(0.1, 1))
def test_near_duplicates_any_texts_agree_with_similarity(texts, text, threshold):
    expected = any(similarity(text, seen) >= threshold for seen in texts)
    assert NearDuplicates(threshold, texts).matches(text) == expected
