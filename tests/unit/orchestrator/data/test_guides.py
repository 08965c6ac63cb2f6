"""The examples in the guides are what the schemas accept."""

import re
from pathlib import Path

import pytest

from services.orchestrator.documents import parse_document
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.study import Study
from services.orchestrator.tasks import parse_task

GUIDES = Path(__file__).resolve().parents[4] / "docs" / "guides"


@pytest.mark.parametrize(
    ("guide", "model"),
    [("reference-sets", ReferenceSetDocument), ("prompt-sets", PromptSetDocument), ("studies", Study)],
)
def test_guide_first_example_is_accepted(guide, model):
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    assert parse_document(example.group(1), model)


def test_guide_of_task_files_examples_are_accepted():
    text = (GUIDES / "tasks.md").read_text(encoding="utf-8")
    harness, plain = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    [item] = parse_task(harness.encode())
    assert (item.choices, item.answers) == (("stone", "ice"), (1,))
    [item] = parse_task(plain.encode())
    assert (item.id, item.answers) == ("sum-1", (1,))
    _, by_hash = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert parse_document(by_hash, Study).guards.tasks[0].name == "arc-easy"
