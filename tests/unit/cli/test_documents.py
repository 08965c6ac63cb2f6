import hashlib
from pathlib import Path

import pytest
import yaml

from services.cli.documents import load_study
from services.cli.errors import CliError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_load_study_without_files_is_sent_unchanged(tmp_path: Path) -> None:
    text = "# mine\nname: a  # why\nreference_set: ten-commandments\n"
    document = load_study(write(tmp_path, "s.yaml", text))
    assert document.text == text
    assert document.files == {}


def test_load_study_with_a_file_puts_it_in_and_keeps_every_line_where_it_was(tmp_path: Path) -> None:
    write(tmp_path, "mine.yaml", "id: mine\nreview_date: 2026-01-31\nprinciples:\n- {text: '隐私 \"x\"'}\n")
    text = "name: a\nreference_set: mine.yaml  # own\nseed: 3\n"
    document = load_study(write(tmp_path, "s.yaml", text))
    assert document.text.splitlines()[2] == "seed: 3"
    assert len(document.text.splitlines()) == 3
    loaded = yaml.safe_load(document.text)
    assert loaded["reference_set"]["principles"] == [{"text": '隐私 "x"'}]
    assert loaded["reference_set"]["review_date"] == "2026-01-31"
    assert document.files == {"reference_set": tmp_path / "mine.yaml"}


def test_load_study_with_three_files_puts_each_in_its_place(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, f"{name}.yaml", f"- {name}\n")
    text = 'topics: "a.yaml"\nreference_set: ./b.yaml\nprompt_set: c.yaml\n'
    loaded = yaml.safe_load(load_study(write(tmp_path, "s.yaml", text)).text)
    assert loaded == {"topics": ["a"], "reference_set": ["b"], "prompt_set": ["c"]}


def test_load_study_with_a_missing_file_names_it(tmp_path: Path) -> None:
    path = write(tmp_path, "s.yaml", "reference_set: gone.yaml\n")
    with pytest.raises(CliError, match=r"gone\.yaml can't be read"):
        load_study(path)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n"])
def test_load_study_that_is_no_mapping_is_left_to_the_orchestrator(tmp_path: Path, text: str) -> None:
    assert load_study(write(tmp_path, "s.yaml", text)).text == text


TASK = '{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'


@pytest.mark.parametrize(
    "entry",
    [
        "guards:\n  tasks:\n    - file: Sums (1).jsonl  # mine\n      margin: 0.03\nseed: 3\n",
        "guards: {tasks: [{file: Sums (1).jsonl, margin: 0.03}]}\n\n\n\nseed: 3\n",
        "guards:\n  tasks: [{margin: 0.03,\n    file: './Sums (1).jsonl'}]\n\nseed: 3\n",
    ],
)
def test_load_study_with_a_task_file_names_it_by_its_hash_and_keeps_the_lines(
    tmp_path: Path, entry: str
) -> None:
    write(tmp_path, "Sums (1).jsonl", TASK)
    document = load_study(write(tmp_path, "s.yaml", entry))
    [task] = yaml.safe_load(document.text)["guards"]["tasks"]
    digest = hashlib.sha256(TASK.encode()).hexdigest()
    assert task == {"name": "sums-1", "sha256": digest, "margin": 0.03}
    assert document.tasks == {"sums-1": tmp_path / "Sums (1).jsonl"}
    assert document.text.splitlines().index("seed: 3") == entry.splitlines().index("seed: 3")


def test_load_study_with_a_named_task_file_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", TASK)
    document = load_study(write(tmp_path, "s.yaml", "guards: {tasks: [{name: sums, file: a.jsonl}]}\n"))
    assert list(document.tasks) == ["sums"]


@pytest.mark.parametrize(
    "entry",
    ["{name: a, sha256: 12}", "{}", "a.jsonl", "{file: [a]}", "null"],
)
def test_load_study_with_another_task_entry_leaves_it_to_the_orchestrator(tmp_path: Path, entry: str) -> None:
    text = f"guards:\n  tasks: [{entry}]\n"
    document = load_study(write(tmp_path, "s.yaml", text))
    assert (document.text, document.tasks) == (text, {})


def test_load_study_with_a_missing_task_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"gone\.jsonl can't be read"):
        load_study(write(tmp_path, "s.yaml", "guards: {tasks: [{file: gone.jsonl}]}\n"))
