"""Two documents, leaf by leaf."""

from typing import Any

import pytest

from services.orchestrator.audit.comparing import Difference, Rule, compare, is_number, leaves

EXACT: dict[str, float] = {}


def test_leaves_of_nested_data_gives_paths_and_empty_containers() -> None:
    found = dict(leaves({"a": [{"b": 1}, {"c": None}], "d": {}, "e": (), "f": "text"}))
    assert found == {"a[0].b": 1, "a[1].c": None, "d": {}, "e": (), "f": "text"}


@pytest.mark.parametrize(
    ("computed", "reported", "same"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0 + 1e-6, False),
        (0.0, 1e-13, True),
        (0.0, 1e-9, False),
        (1, 1.0, True),
        (1, True, False),
        (None, 0, False),
        ("a", "a", True),
        ("a", "b", False),
        ([], {}, True),
        ([], None, False),
        (True, True, True),
    ],
)
def test_compare_leaf_equal_within_tolerance_or_not(computed: Any, reported: Any, same: bool) -> None:
    comparison = compare({"x": computed}, {"x": reported}, (), EXACT)
    assert comparison.ok is same
    assert comparison.sections["x"].compared == 1


def test_compare_tolerance_by_top_level_key() -> None:
    loose = {"loose": 1e-3}
    assert compare({"loose": {"v": 1.0}}, {"loose": {"v": 1.0005}}, (), loose).ok
    assert compare({"loose": {"v": 0.0}}, {"loose": {"v": 0.0005}}, (), loose).ok
    assert not compare({"loose": {"v": 1.0}}, {"loose": {"v": 1.005}}, (), loose).ok
    assert not compare({"tight": {"v": 1.0}}, {"tight": {"v": 1.0005}}, (), loose).ok


def test_compare_leaves_that_a_rule_names_are_taken_and_others_uncovered() -> None:
    rules = (Rule("times.*", "time"), Rule("loads[].**", "proof"))
    reported = {"times": {"a": 1.0}, "loads": [{"x": {"y": 1}}], "other": 2}
    comparison = compare({}, reported, rules, EXACT)
    assert comparison.taken == {"time": ["times.a"], "proof": ["loads[0].x.y"]}
    assert comparison.uncovered == ["other"]
    assert not comparison.ok


def test_compare_what_the_report_lacks_is_a_difference() -> None:
    assert compare({"a": {"b": 1}}, {"a": {}}, (), EXACT).differences == [
        Difference("a", "(an object or a list)", {}),
        Difference("a.b", 1, "(missing)"),
    ]


def test_compare_an_empty_list_against_entries_names_the_entries() -> None:
    comparison = compare({"a": []}, {"a": [1]}, (), EXACT)
    assert comparison.uncovered == ["a[0]"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.**", "a.b.c", True),
        ("a[].b", "a[12].b", True),
        ("a[].b", "a.b", False),
        ("a", "ab", False),
    ],
)
def test_rule_matches_pattern_of_paths(pattern: str, path: str, matches: bool) -> None:
    assert Rule(pattern, "").matches(path) is matches


def test_is_number_truth_values_are_none() -> None:
    assert is_number(1)
    assert is_number(0.5)
    assert not is_number(True)
    assert not is_number("1")
