"""JSON and YAML bodies."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidInputError
from services.orchestrator.api.bodies import decode, json_as_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=4), st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_as_yaml_reads_as_the_same_data(
    data: dict[str, Any], ascii_only: bool, indent: int | str | None
) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent)
    assert yaml.safe_load(json_as_yaml(text)) == data


def test_json_as_yaml_keeps_lines_and_escaped_backslashes() -> None:
    assert json_as_yaml('{"a":\n\t"\\ud83d\\ude00"}') == '{"a":\n "😀"}'
    assert json_as_yaml('{"a": "\\\\ud83d"}') == '{"a": "\\\\ud83d"}'


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"a": 1,\n "b" 2}', 2, 6),
        ("", 1, 1),
        ('{"a": "\\ud800"}', 1, 8),
        ('{"a": 1,\n "b": "\\udc00x"}', 2, 8),
        ('{"a": NaN}', None, None),
        ('{"a": ' + "9" * 5000 + "}", None, None),
        ("[" * 100_000, None, None),
    ],
)
def test_json_as_yaml_bad_json_names_the_place(text: str, line: int | None, column: int | None) -> None:
    with pytest.raises(InvalidInputError) as caught:
        json_as_yaml(text)
    fault = caught.value.details["errors"][0]
    assert (fault["line"], fault["column"]) == (line, column)


def test_decode_not_utf8_names_the_place() -> None:
    assert decode("é\n".encode()) == "é\n"
    with pytest.raises(InvalidInputError) as caught:
        decode(b"name: a\nb: \xff\n")
    fault = caught.value.details["errors"][0]
    assert (fault["line"], fault["column"]) == (2, 4)
