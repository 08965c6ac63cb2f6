"""Names within MLflow's limits: allowed, short enough, and never two that become one."""

import posixpath
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.orchestrator.tracking import names

# As mlflow.utils.validation has it.
_TAKEN = re.compile(r"[/A-Za-z0-9_.\- :]+")
_ALIAS = re.compile(r"[\w-]+")
TEXT = st.text(max_size=400)


@given(st.lists(TEXT, min_size=1, max_size=4))
@example(["..", "."])
@example(["", ""])
@example(["a/b", "\x00", "\ud800"])
@example([" . ", "x" * 400])
def test_key_of_any_parts_is_one_that_mlflow_takes(parts: list[str]) -> None:
    made = names.key(*parts)
    assert _TAKEN.fullmatch(made)
    assert len(made) <= names.MAX_KEY_CHARACTERS
    assert posixpath.normpath(made) == made
    assert not made.startswith(("/", ".."))


@given(TEXT, TEXT)
@example("a/b", "a_b")
@example("é", "_")
@example("..", ".")
@example("x" * 300, "x" * 301)
def test_key_of_two_names_is_two_keys(first: str, second: str) -> None:
    if first != second:
        assert names.key("m", first) != names.key("m", second)


def test_key_of_plain_parts_is_as_it_is() -> None:
    assert names.key("report", "privacy-and-data", "base_p3") == "report/privacy-and-data/base_p3"


@given(st.text(max_size=50), st.integers(200, 300))
@example("\ud800", 200)
def test_value_is_never_longer_than_it_may_be(text: str, longest: int) -> None:
    made = names.value(text * 20, longest)
    assert len(made) <= longest
    made.encode("utf-8")
    assert "\x00" not in made


def test_value_that_is_cut_says_how_long_it_was() -> None:
    made = names.value("x" * 6001)
    assert len(made) == 6000
    assert "… (6001 characters, sha256 " in made
    assert names.value("x" * 6000) == "x" * 6000


@pytest.mark.parametrize(
    ("route", "alias"), [("valign", "champion"), ("blue", "champion-blue"), ("champion", "champion-champion")]
)
def test_alias_of_a_route(route: str, alias: str) -> None:
    assert names.alias_of(route, "valign") == alias


def test_alias_of_routes_that_differ_by_a_dot_differ() -> None:
    first, second = names.alias_of("a.b", "valign"), names.alias_of("a_b", "valign")
    assert first != second
    assert _ALIAS.fullmatch(first)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("HuggingFaceTB/SmolLM2-135M", "valign-HuggingFaceTB-SmolLM2-135M"),
        ("a:b/c", "valign-a-b-c"),
        ("///", "valign-model"),
    ],
)
def test_model_name_has_nothing_that_mlflow_refuses(model: str, name: str) -> None:
    assert names.model_name("valign", model) == name
