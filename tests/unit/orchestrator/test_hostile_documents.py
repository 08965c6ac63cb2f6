"""Documents of people who mean harm: refused in our words, with the line, soon, and in little memory."""

import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from services.common.errors import InvalidInputError
from services.orchestrator.api.bodies import json_as_yaml, json_or_yaml
from services.orchestrator.documents import MAX_DOCUMENT_BYTES, parse_document
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.study import Study

_FULL = MAX_DOCUMENT_BYTES - 200
_MOST_CPU_S = 2.0
_MOST_GROWN_BYTES = 200 * 1024**2
# What stands behind a key of the document's that takes any value.
_VALUES: dict[str, str | bytes] = {
    "billion laughs": "&a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]",
    "an anchor of itself": "&a [*a]",
    "an alias": "*a",
    "an object of Python": "!!python/object/apply:os.system ['true']",
    "a tag": "!include /etc/passwd",
    "a binary": "!!binary aGVsbG8=",
    "a verbatim tag": "!<tag:yaml.org,2002:python/name:os.system> ''",
    "a merge of itself": "{<<: *a}",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 50_000,
    "deep blocks": "\n" + "".join(" " * n + "-\n" for n in range(200)),
    "deep dashes": "\n" + "- " * 100_000,
    "many of one line": "[" + "x," * (_FULL // 2) + "]",
    "many lines": "\n" + "- x\n" * (_FULL // 4),
    "many empty": "[" + "{}," * (_FULL // 3) + "]",
    "many keys": "{" + ",".join(f"k{n}: 1" for n in range(_FULL // 12)) + "}",
    "a key twice": "{a: 1, a: 2}",
    "a list as key": "{[a]: 1}",
    "NUL": "a\0b",
    "a bell": "\x07",
    "an escape": "\x1b[31m",
    "a delete": "\x7f",
    "half a character": '"\\ud800"',
    "a noncharacter": "\uffff",
    "bytes of Latin-1": b"\xe9t\xe9",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate in bytes": b"\xed\xa0\x80",
    "digits": "9" * 200_000,
    "hexadecimal digits": "0x" + "f" * 200_000,
    "hexadecimal, just too long to write": "0x" + "f" * 4_000,
    "binary digits": "0b" + "1" * 200_000,
    "octal digits": "0" + "7" * 200_000,
    "base 60": "1" + ":1" * 100_000,
    "base 60 with a fraction": "1" + ":1" * 5_000 + ":1.5",
    "a float beyond": "1.0e+999999",
    "a float of digits": "1." + "1" * 200_000,
    "infinity": ".inf",
    "no number": ".nan",
    "a value sign": "=",
    "a merge sign": "<<",
    "a date": "2026-01-31 12:00:00",
    "a date that is none": "2026-13-45",
    "an open quote": '"' + "x" * 100_000,
    "a quote of escapes": '"' + "\\x41" * (_FULL // 5) + '"',
    "an open flow": "[a, b",
    "a tab": "\n\t- a",
    "a second document": "a\n---\nb: c",
    "a directive": "a\n%YAML 9.9\n---",
    "a mapping in a scalar": "a: b: c",
}
_WHOLES: dict[str, str | bytes] = {
    "nothing": "",
    "a comment alone": "#" * _FULL,
    "line ends alone": "\n" * _FULL,
    "one line of 2 MiB": "name: " + "x" * 2 * 1024**2,
    "too many keys to be read": "".join(f"key{number}: 1\n" for number in range(10**5)),
    "many keys": "".join(f"k{number}: 1\n" for number in range(_FULL // 12)),
    "UTF-16": "name: x\nseed: 1\n".encode("utf-16"),
    "UTF-32": "name: x\nseed: 1\n".encode("utf-32"),
    "UTF-16 without its mark": "name: x\n".encode("utf-16-le"),
    "marks of order": "\ufeff" * 1000,
    "a directive again and again": "%YAML 1.1\n" * 10_000,
    "tags of one's own": "%TAG ! tag:example.org,2026:\n---\nname: !x y\n",
    "documents": "---\n" * 10_000,
    "question marks": "? " * 100_000,
    "colons": ": " * 100_000,
    "bars": "|\n" * 100_000,
    "a list": "- name\n",
    "a number": "3",
    "null": "null",
    "an alias as key": "*a : b\n",
    "a long key": "? " + "k" * 100_000 + "\n: 1\n",
    "a merge of lists": "<<: [{name: x}, {name: y}]\n",
}
_MODELS: dict[str, tuple[type[BaseModel], str]] = {
    "study": (Study, "name: x\nseed: "),
    "reference set": (ReferenceSetDocument, "id: x\nprinciples: "),
    "prompt set": (PromptSetDocument, "id: x\nstages: "),
}


def _refusal(work: Callable[[], Any]) -> dict[str, Any]:
    """The first fault of what ``work`` refuses; bounds what it may take.

    CPU time of this process: how busy the machine is does not count.
    """
    started_s = time.process_time()
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with pytest.raises(InvalidInputError) as refused:
        work()
    assert time.process_time() - started_s < _MOST_CPU_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes < _MOST_GROWN_BYTES
    assert len(refused.value.message) < 5_000
    faults = refused.value.details["errors"]
    assert all(len(fault["message"]) < 5_000 and len(fault["path"]) < 1_000 for fault in faults)
    first: dict[str, Any] = faults[0]
    return first


@pytest.mark.parametrize("kind", _MODELS)
@pytest.mark.parametrize("what", _VALUES)
def test_document_with_a_hostile_value_is_refused_with_its_line(what: str, kind: str) -> None:
    model, start = _MODELS[kind]
    value = _VALUES[what]
    document = start.encode() + (
        value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    )
    fault = _refusal(lambda: parse_document(document + b"\n", model))
    assert fault["line"] is not None, fault


@pytest.mark.parametrize("kind", _MODELS)
@pytest.mark.parametrize("what", _WHOLES)
def test_document_that_is_hostile_as_a_whole_is_refused(what: str, kind: str) -> None:
    _refusal(lambda: parse_document(_WHOLES[what], _MODELS[kind][0]))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"name": ' + "9" * 200_000 + "}",
        '{"name": "x", "seed": 1e999999}',
        '{"name": NaN}',
        '{"name": -Infinity}',
        '{"name": "\\ud83d"}',
        '{"name": "\\ud83d\\ud83d"}',
        '{"name": "\\u0000"}',
        '{"name": "\0"}',
        '{"name": "x", "name": "y"}',
        '{"name": "x"} {"name": "y"}',
        '{"topics": [' + "1," * 100_000 + "1]}",
        "\ufeff{}",
    ],
)
def test_json_document_that_is_hostile_is_refused_on_both_ways_in(text: str) -> None:
    _refusal(lambda: parse_document(json_as_yaml(text), Study))
    _refusal(lambda: parse_document(json_or_yaml(text), Study))


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**120), 10**120),
            st.floats(),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from([*Study.model_fields, "id", "title"]), inner, max_size=4),
        ),
        max_leaves=12,
    )
)
def test_study_of_any_data_is_read_or_refused_in_our_words(data: Any) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    try:
        parse_document(text, Study)
    except InvalidInputError as refused:
        refused.details["errors"][0]["message"].encode()
