"""The examples in the guides are what the schemas accept."""

import re
from pathlib import Path

import pytest

from services.orchestrator.documents import parse_document
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.study import Study

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
