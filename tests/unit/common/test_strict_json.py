"""JSON from strangers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.strict_json import loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_loads_reads_what_json_writes(value: object) -> None:
    assert loads(json.dumps(value).encode(), max_parts=10_000) == value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        (b'[{"\\ud800": 1, "\\ud800": 1}]', "twice"),
        (b"[" * 5_000, "nested too deep|Expecting value"),
        (b"[" * 50 + b"]" * 50, "50 parts"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b"\xff", "codec"),
        (b"", "Expecting value"),
        (b"9" * 10_000, "digits"),
    ],
)
def test_loads_hostile_is_value_error(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        loads(data, max_parts=49 if b"]" in data and len(data) == 100 else 1_000_000)


def test_loads_whole_pair_of_surrogates_is_one_sign() -> None:
    assert loads(b'"\\ud83d\\ude00"', max_parts=1) == "\U0001f600"
