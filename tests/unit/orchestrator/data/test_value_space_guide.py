"""The examples in the guide to the value space are what the code accepts."""

import re
from pathlib import Path

import yaml

from services.orchestrator.analysis.values.labels import read_labels
from services.orchestrator.study import Study

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "guides" / "value-space.md"


def test_guide_examples_are_accepted():
    text = GUIDE.read_text(encoding="utf-8")
    [section] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert Study.model_validate({"name": "guide", **yaml.safe_load(section)}).values.evaluator == "judge"
    [line] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert read_labels(line).rows[0].labels["security"] == -1
