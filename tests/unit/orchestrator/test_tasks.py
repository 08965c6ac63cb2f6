"""Task files: the harness's log in its shapes, plain lines, and what is refused with its line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidInputError
from services.orchestrator import tasks
from services.orchestrator.tasks import TaskItem, parse_task


def harness_row(doc_id: int = 0, target: Any = "1", **changes: Any) -> dict[str, Any]:
    """A row as lm-evaluation-harness 0.4 writes it for a multiple-choice task."""
    context = f"Question: what is {doc_id}?\nAnswer:"
    return {
        "doc_id": doc_id,
        "doc": {"question": "?", "choices": ["one", "two"], "gold": 1},
        "target": target,
        "arguments": {
            "gen_args_0": {"arg_0": context, "arg_1": " one"},
            "gen_args_1": {"arg_0": context, "arg_1": " two"},
        },
        "resps": [[["-5.25", "False"]], [["-1.5", "True"]]],
        "filtered_resps": [["-5.25", "False"], ["-1.5", "True"]],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": "ab" * 32,
        "prompt_hash": "cd" * 32,
        "target_hash": "ef" * 32,
        "acc": 1.0,
        "acc_norm": 1.0,
        **changes,
    }


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def faults(data: bytes) -> list[dict[str, Any]]:
    with pytest.raises(InvalidInputError) as refused:
        parse_task(data)
    found: list[dict[str, Any]] = refused.value.details["errors"]
    return found


def test_parse_harness_log_gives_context_choices_and_answer() -> None:
    [first, second] = parse_task(lines(harness_row(0), harness_row(7, target="0")))
    assert first == TaskItem("0", "Question: what is 0?\nAnswer:", ("one", "two"), (1,))
    assert (second.id, second.answers) == ("7", (0,))


def test_parse_harness_log_older_shape_with_lists_is_the_same() -> None:
    context = "Question: what is 0?\nAnswer:"
    older = harness_row(target=1, arguments=[[context, " one"], [context, " two"]])
    assert parse_task(lines(older)) == parse_task(lines(harness_row()))


def test_parse_harness_log_arguments_are_taken_in_order_of_their_number() -> None:
    pairs = {f"gen_args_{n}": {"arg_0": "?", "arg_1": f" {n}"} for n in range(11, -1, -1)}
    [item] = parse_task(lines(harness_row(arguments=pairs, target="10")))
    assert item.choices == tuple(str(n) for n in range(12))
    assert item.answers == (10,)


@pytest.mark.parametrize(
    ("target", "answers"),
    [("1", (1,)), (1, (1,)), ("two", (1,)), (" two", (1,)), ("[0, 1]", (0, 1)), ([1], (1,))],
)
def test_parse_harness_log_targets_in_every_shape(target: Any, answers: tuple[int, ...]) -> None:
    assert parse_task(lines(harness_row(target=target)))[0].answers == answers


def test_parse_harness_log_number_as_target_is_an_index_even_where_a_choice_reads_so() -> None:
    pairs = [["2 - 1 =", " 0"], ["2 - 1 =", " 1"], ["2 - 1 =", " 2"]]
    assert parse_task(lines(harness_row(arguments=pairs, target="2")))[0].answers == (2,)


def test_parse_harness_log_choices_of_acc_mutual_info_are_not_read_twice() -> None:
    pairs = [["What?", " a"], ["What?", " b"], ["", " a"], ["", " b"]]
    [item] = parse_task(lines(harness_row(arguments=pairs)))
    assert item.choices == ("a", "b")


def test_parse_harness_log_rows_of_two_filters_are_one_item() -> None:
    assert len(parse_task(lines(harness_row(filter="none"), harness_row(filter="strict-match")))) == 1


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}, (1,)),
        ({"question": "2 + 2 =", "choices": ["3", "4"], "answer": "B"}, (1,)),
        ({"question": "2 + 2 =", "choices": ["three", "four"], "answer": "four"}, (1,)),
        ({"question": "A?", "choices": ["B", "A"], "answer": "A"}, (1,)),
        ({"question": "?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": "B"}, (1,)),
    ],
)
def test_parse_plain_lines(row: dict[str, Any], answers: tuple[int, ...]) -> None:
    assert parse_task(lines(row))[0].answers == answers


def test_parse_plain_lines_other_scripts_blank_lines_and_a_byte_order_mark() -> None:
    row = {"id": "水", "question": "水在几度沸腾?", "choices": ["一百度", "零度"], "answer": 0}
    data = b"\xef\xbb\xbf\r\n" + lines(row).replace(b"\n", b"\r\n") + b"\n\n"
    assert parse_task(data) == (TaskItem("水", "水在几度沸腾?", ("一百度", "零度"), (0,)),)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (harness_row(target="three"), "'three' names no choice"),
        (harness_row(target="2"), "'2' names no choice"),
        (harness_row(target=2), "2 is no index of 2 choices"),
        (harness_row(target=-1), "-1 is no index"),
        (harness_row(target=True), "True names no choice"),
        (harness_row(target=None), "None names no choice"),
        (harness_row(target=[]), "[] names no choice"),
        (harness_row(arguments=[["a", " x"], ["b", " x"]]), "winogrande"),
        (harness_row(arguments={"gen_args_0": {"arg_0": "a", "arg_1": {"until": []}}}), "generating task"),
        (harness_row(arguments=[["a", " x"]], target=0), "one choice"),
        (harness_row(arguments=[["a"]]), "not pairs"),
        (harness_row(arguments={}), "not pairs"),
        (harness_row(arguments="a"), "not pairs"),
        (harness_row(arguments=[["<|im_start|>user a", "x"], ["<|im_start|>user a", "y"]]), "chat_template"),
        (harness_row(arguments=[["a", " x"], ["a", " "]]), "choice 1 must be a text"),
        (harness_row(arguments=[[["a"], "x"], [["a"], "y"]]), "the question must be a text"),
        (harness_row(arguments=[["a", str(n)] for n in range(65)]), "65 choices"),
        ({"question": "a", "choices": "xy", "answer": 0}, "choices must be a list"),
        ({"question": "a\ud83d", "choices": ["x", "y"], "answer": 0}, "half a character"),
        ({"question": "a" * 100_001, "choices": ["x", "y"], "answer": 0}, "100001 characters"),
        ({"question": "a", "choices": ["x", "y"], "answer": 0, "id": [1]}, "its id"),
        ({"text": "a"}, "no known shape"),
        ([1], "each line is one"),
    ],
)
def test_parse_wrong_row_is_refused_with_its_line(row: Any, says: str) -> None:
    good = {"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}
    data = lines(good) + json.dumps(row).encode() + b"\n"
    [fault] = faults(data)
    assert fault["line"] == 2
    assert says in fault["message"]


@pytest.mark.parametrize(
    ("data", "says"), [(b"{", "not a JSON object"), (b"\xff", "byte 0xff"), (b"[" * 100_000, "JSON object")]
)
def test_parse_bytes_that_are_no_json_are_refused(data: bytes, says: str) -> None:
    assert says in faults(data)[0]["message"]


def test_parse_same_id_with_other_content_names_the_first_line() -> None:
    [fault] = faults(lines(harness_row(1), harness_row(1, target="0")))
    assert (fault["line"], "first on line 1" in fault["message"]) == (2, True)


def test_parse_many_faults_names_fifty() -> None:
    assert len(faults(b"{\n" * 80)) == 50


def test_parse_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"{n}?", "choices": ["x", "y"], "answer": 0} for n in range(4)]
    monkeypatch.setattr(tasks, "MAX_ITEMS", 3)
    assert "more than 3 items" in faults(lines(*rows))[0]["message"]
    monkeypatch.setattr(tasks, "MAX_TASK_BYTES", 10)
    assert "at most 10" in faults(lines(*rows))[0]["message"]
    assert "no items" in faults(b"\n \n")[0]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["question", "choices", "answer", "arguments", "target", "doc_id", "id"]), JSON
    )
)
def test_parse_anything_gives_items_or_a_fault_with_a_line(row: dict[str, Any]) -> None:
    items: tuple[TaskItem, ...] = ()
    told: list[dict[str, Any]] = []
    try:
        items = parse_task(json.dumps(row).encode())
    except InvalidInputError as error:
        told = error.details["errors"]
    assert bool(items) != bool(told)
    assert [fault["line"] for fault in told] in ([], [1])
    assert all(0 <= answer < len(item.choices) for item in items for answer in item.answers)


@pytest.mark.parametrize("answer", ["00", "[01, 9]", "\u0660", "9" * 5000, f"[1,{'9' * 5000}]"])
def test_parse_task_odd_number_as_answer_is_an_index_or_a_fault(answer: str) -> None:
    row = json.dumps({"question": "q", "choices": ["a", "b"], "answer": answer}).encode()
    if answer == "00":
        assert parse_task(row)[0].answers == (0,)
        return
    with pytest.raises(InvalidInputError):
        parse_task(row)
