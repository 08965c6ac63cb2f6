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
