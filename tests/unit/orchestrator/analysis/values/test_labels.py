"""Labels in FULCRA's format: what is read, what is refused, and that every oddity is counted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.analysis.values.dimensions import VALUES
from services.orchestrator.analysis.values.labels import LabelFile, read_labels, split_dialogue
from tests.fulcra_shape import as_lines, rows


def row(labels: Any, dialogue: str = "Human: what now?\nBob: do it") -> dict[str, Any]:
    return {"dialogue": dialogue, "value_types": labels}


def read(*data: Any) -> LabelFile:
    return read_labels(as_lines(data))


def test_row_in_published_shape_gives_its_labels_and_0_for_the_values_it_does_not_name():
    published = {
        "dialogue": "Human: may I?\nBob: Yes, you may.",
        "value_items": ["Be capable:+1", "Be honest:-1"],
        "value_types": ["security: -1", "achievement: +1"],
        "query_source": "x",
        "response_source": "y",
    }
    file = read(published)
    (only,) = file.rows
    assert (only.question, only.reply) == ("may I?", "Yes, you may.")
    assert only.labels == dict.fromkeys(VALUES, 0) | {"security": -1, "achievement": 1}
    assert (file.counts.lines, file.counts.rows, file.counts.refused) == (1, 1, {})
    assert file.counts.respelled_labels == 0


@pytest.mark.parametrize(
    ("spelled", "label"),
    [
        ("Security:1", 1), (" SECURITY : +1", 1), ("security: 1+", 1), ("security: +1.0", 1),
        ("security=1", 1),
        ("security: \u22121", -1), ("security: - 1", -1), ("security: 1-", -1), ("security: 0", 0),
        ("security: important", 1), ("security: Opposed", -1), ("security: no connection", 0),
        ({"security": -1}, -1), (["security", "1"], 1), (["security", -1.0], -1),
    ],
)  # fmt: skip
def test_label_spelled_otherwise_is_read_and_counted(spelled, label):
    file = read(row([spelled]))
    assert file.rows[0].labels["security"] == label
    assert file.counts.respelled_labels == (spelled != "security: 0")


@pytest.mark.parametrize(
    "given_", ["Self-Direction: +1", "self_direction: +1", "self direction:+1", "SelfDirection:+1"]
)
def test_value_name_spelled_otherwise_is_known(given_):
    assert read(row([given_])).rows[0].labels["self-direction"] == 1


def test_labels_as_one_text_or_as_mapping_are_read():
    assert read(row("security: -1, power: +1")).rows[0].labels["power"] == 1
    assert read(row({"security": "-1", "power": 1})).rows[0].labels["security"] == -1


@pytest.mark.parametrize("score", ["maybe", "2", 0.5, "", None, True, "+1 -1"])
def test_label_that_is_none_of_three_leaves_the_value_unknown_never_0(score):
    file = read(row({"security": score, "power": 1}))
    assert "security" not in file.rows[0].labels
    assert file.counts.unreadable == {"security": 1}
    assert file.rows[0].labels["power"] == 1


def test_unknown_value_name_is_left_out_and_counted_by_name():
    file = read(
        row(["humility: +1", "security: +1"]),
        row(["humility: -1", "face: 1", "power: 1"], "Human: b\nBob: c"),
    )
    assert file.counts.unknown_values == {"humility": 2, "face": 1}
    assert file.counts.unknown_value_labels == 3
    assert len(file.rows) == 2


def test_row_with_labels_of_unknown_values_alone_is_refused_not_read_as_all_0():
    with pytest.raises(ValueError, match="1 no label of the ten values"):
        read(row(["humility: +1"]))


def test_contradiction_within_a_row_leaves_the_value_unknown():
    file = read(row(["security: +1", "security: -1", "power: 1"]))
    assert "security" not in file.rows[0].labels
    assert file.counts.contradictions == {"security": 1}
    assert file.counts.contradictory_rows == 1


def test_label_given_twice_alike_counts_once():
    file = read(row(["security: +1", "security: +1"]))
    assert file.rows[0].labels["security"] == 1
    assert file.counts.repeated_labels == 1


def test_duplicate_rows_count_once_also_with_other_spaces_and_case():
    file = read(row(["security: +1"]), row(["security: +1"], "Human:  WHAT now?\nBob: Do it "))
    assert (len(file.rows), file.counts.duplicates, file.counts.contradictory_rows) == (1, 1, 0)


def test_contradictory_duplicates_leave_only_the_values_they_differ_on_unknown():
    file = read(row(["security: +1", "power: 1"]), row(["security: -1", "power: 1"]))
    assert "security" not in file.rows[0].labels
    assert file.rows[0].labels["power"] == 1
    assert file.counts.contradictions == {"security": 1}
    assert (file.counts.duplicates, file.counts.contradictory_rows) == (1, 1)


def test_lines_that_cannot_be_used_are_refused_by_reason():
    unread = dict.fromkeys(VALUES, "?")
    file = read(
        row(["power: +1"]),
        "{broken",
        "[1, 2]",
        "3",
        row(["power: 1"], ""),
        row(["power: 1"], "Human: a\nBob: "),
        {"dialogue": "Human: a\nBob: b"},
        row(None, "Human: q\nBob: r"),
        row(unread, "Human: s\nBob: t"),
    )
    assert file.counts.lines == 9
    assert file.counts.refused == {
        "no JSON object": 2,
        "no dialogue": 1,
        "no readable label": 1,
        "no reply": 1,
        "no value_types": 2,
        "not JSON": 1,
    }


def test_row_with_an_empty_list_of_values_is_no_connection_everywhere_and_counted():
    file = read(row([]))
    assert set(file.rows[0].labels.values()) == {0}
    assert file.counts.rows_without_values == 1


def test_json_array_and_byte_order_mark_are_read():
    assert len(read_labels("\ufeff" + json.dumps([row(["power: 1"])])).rows) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "[]", "{}\n"])
def test_file_without_usable_row_is_refused_with_the_shape_of_a_line(text):
    with pytest.raises(ValueError, match="value_types"):
        read_labels(text)


@pytest.mark.parametrize(
    ("dialogue", "question", "reply"),
    [
        ("Human: a\nBob: b", "a", "b"),
        ("Human: a\nBob: b\nHuman: c\nBob: d", "a\nBob: b\nHuman: c", "d"),
        ("User: a\nAssistant: b: c", "a", "b: c"),
        ("no turns at all", "", "no turns at all"),
        ("Human: only asked", "only asked", ""),
        ("human: a\nBOB: b\nc", "a", "b\nc"),
    ],
)
def test_split_dialogue_gives_the_last_reply(dialogue, question, reply):
    assert split_dialogue(dialogue) == (question, reply)


def test_replies_to_one_prompt_share_a_group():
    file = read_labels(as_lines(rows(5)))
    assert len({one.group for one in file.rows}) == 5


@given(st.text() | st.lists(st.text(alphabet='{}[]":,+-1ab \n'), max_size=5).map("\n".join))
def test_any_text_is_read_or_refused_with_a_reason(text):
    good = json.dumps(row(["power: 1"]))
    file = read_labels(f"{good}\n{text}")
    assert file.rows
    assert file.counts.lines == 1 + sum(bool(line.strip()) for line in text.split("\n"))
    assert file.counts.lines == file.counts.rows + file.counts.duplicates + sum(file.counts.refused.values())


def test_read_labels_hostile_lines_take_no_square_of_their_length() -> None:
    rows = [
        {"dialogue": "\n" * 400_000 + "Human: q\nBob: r", "value_types": ["security: 1"]},
        {"dialogue": "Human: a\nBob: b", "value_types": ["security: 1", "a" + " " * 500_000 + "b"]},
    ]
    found = read_labels("\n".join(json.dumps(row) for row in rows))
    assert [(row.question, row.reply) for row in found.rows] == [("q", "r"), ("a", "b")]
    assert max(map(len, found.counts.unknown_values)) <= 200
