"""report.json: round trip, refusals, and the checked-in JSON Schema."""

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.orchestrator.report.schema import Overall, Report, json_schema
from tests.unit.orchestrator.report import examples

SCHEMA = Path(__file__).parents[4] / "docs" / "report.schema.json"


@pytest.mark.parametrize("report", [examples.report(), examples.measured_only()], ids=["trained", "measured"])
def test_report_written_and_read_is_the_same(report: Report) -> None:
    assert Report.model_validate_json(report.to_json()) == report


def test_report_of_schema_1_0_still_opens_and_keeps_its_version() -> None:
    data = json.loads(examples.report().to_json())
    new = ("warnings", "analysis", "evidence", "governance", "values")
    old = {key: value for key, value in data.items() if key not in new} | {"schema_version": "1.0"}
    report = Report.model_validate(old)
    assert (report.schema_version, report.analysis, report.warnings) == ("1.0", None, ())


def test_schema_file_is_fresh() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json_schema(), (
        "run: python -m services.orchestrator.report.schema > docs/report.schema.json"
    )


def test_schema_describes_every_field() -> None:
    schema = json.loads(json_schema())
    parts = [schema, *schema["$defs"].values()]
    fields = [(part["title"], name, field) for part in parts for name, field in part["properties"].items()]
    assert len(fields) > 60
    assert [(part, name) for part, name, field in fields if not field.get("description")] == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Overall(before=value)


def test_nan_hidden_in_a_mapping_is_refused() -> None:
    data = json.loads(examples.report().to_json())
    data["timings_s"]["prepare"] = math.nan
    with pytest.raises(ValidationError, match="finite"):
        Report.model_validate(data)


def test_unknown_key_is_refused() -> None:
    data = json.loads(examples.report().to_json()) | {"verdict": "promote"}
    with pytest.raises(ValidationError, match="verdict"):
        Report.model_validate(data)


def test_report_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        examples.report().name = "other"  # type: ignore[misc]


def test_json_carries_what_readers_rely_on() -> None:
    data = json.loads(examples.report().to_json())
    assert data["schema_version"] == "1.3"
    assert {"before", "base_p3", "after", "reduction"} <= data["topics"][0].keys()
    assert data["adapter"].keys() == {"name", "sha256", "uri"}
    assert data["iterations"][0]["iteration"] == 0
