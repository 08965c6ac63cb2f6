"""What the shipped hook takes out, what it leaves, and what is said of a hook that is not there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidInputError
from services.orchestrator.monitor.live.redaction import load_hook, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to Ann.Lee+x@mail.example.org, please.", "Write to [email], please."),
        ("ask jörg@müller.example now", "ask [email] now"),
        ("from 192.168.0.17 and 2001:db8::8a2e:370:7334.", "from [ip] and [ip]."),
        ("call +49 30 901820 or (020) 7946 0958", "call [phone] or [phone]"),
        ("555-0123, 030/901820", "[phone], [phone]"),
        ("card 4111 1111 1111 1111, then 4111-1111-1111-1111", "card [card], then [card]"),
        ("pay to DE89 3704 0044 0532 0130 00 today", "pay to [iban] today"),
        ("pay to gb82west12345698765432", "pay to [iban]"),
    ],
)
def test_what_has_a_form_is_taken_out(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "In 1984 there were 3.14 reasons, 12:30 to 14:00.",
        "Version 1.2.3, chapter 12.4, 999.1.1.1",
        "Article 5(1)(a) of Regulation 2016/679",
        "You shall not covet.",
        "std::vector<int> at 12:30:45",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_number_of_a_card_with_a_wrong_check_digit_is_no_card() -> None:
    assert redact("4111 1111 1111 1112") == "4111 1111 1111 1112"


@given(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.[a-z]{2,4}", fullmatch=True), st.text(max_size=40))
def test_no_address_of_mail_survives_beside_any_text(address: str, other: str) -> None:
    assert not re.search(rf"(?<![\w.%+'-]){re.escape(address)}", redact(f"{other} {address} {other}"))


@given(st.text(max_size=2000))
def test_any_text_gives_a_text_and_twice_the_same(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_hook_is_named_by_module_and_function() -> None:
    assert load_hook("services.orchestrator.monitor.live.redaction:redact") is redact


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("redact", "package.module:function"),
        ("no.such.module:redact", "can't be imported"),
        ("services.orchestrator.monitor.live.redaction:none", "can't be imported"),
        ("services.orchestrator.monitor.live.redaction:_IBAN", "no function"),
    ],
)
def test_hook_that_is_not_there_is_told(named: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        load_hook(named)
