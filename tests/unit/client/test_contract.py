"""The client knows what the API says: every field and every operation, or why not."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.write_sync_client import TARGET, made
from services.client import models, models_monitors, models_reviews, models_webhooks

DOCUMENT: dict[str, Any] = json.loads(Path("docs/openapi.json").read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
# Where the client's word is not the document's.
NAMES = {
    "AdapterChange": "Change",
    "ApiKey": "ApiKeySummary",
    "PromptSet": "PromptSetSummary",
    "ReferenceSet": "ReferenceSetSummary",
    "RouteChange": "RouteEntry",
    "Ruler": "RulerSummary",
    "ShippedStudy": "StudySummary",
    "Step": "RunStep",
    "ValuesJob": "ValuesJobModel",
    "Verdict": "VerdictInReport",
    "EventType": "EventTypeSummary",
    "Measurement": "MeasurementSummary",
    "MeasurementPage": "MeasurementList",
    "Monitor": "MonitorSummary",
    "MonitorAlarmPage": "MonitorAlarmList",
    "MonitorPage": "MonitorList",
    "MonitorSamplePage": "MonitorSampleList",
    "Review": "ReviewBody",
    "ReviewItem": "ReviewItemBody",
    "ReviewResults": "HumanReview",
    "Webhook": "WebhookSummary",
}
# A line of an export, which has no schema of its own.
WITHOUT = {"AuditEntry"}
# What a typed method would add nothing to; ``client.request`` reaches it.
BY_REQUEST = {"compareRunsHtml", "getHealth", "getReadiness", "getMetrics"}


def _models() -> list[type[models.Model]]:
    return [
        one
        for module in (models, models_monitors, models_reviews, models_webhooks)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, models.Model) and one is not models.Model
    ]


@pytest.mark.parametrize("model", [one for one in _models() if one.__name__ not in WITHOUT])
def test_model_has_the_fields_of_its_schema_and_requires_no_others(model: type[models.Model]) -> None:
    schema = SCHEMAS[NAMES.get(model.__name__, model.__name__)]
    fields = model.model_fields
    left_out = {"labels", "agreement"} if model is models.ValuesJob else set()
    assert set(fields) == set(schema["properties"]) - left_out
    required = {name for name, field in fields.items() if field.is_required()}
    assert required <= set(schema["required"])


@pytest.mark.parametrize("kind", [models.RunStatus, models.AdapterState, models_monitors.MonitorState])
def test_enums_are_those_of_the_document(kind: Any) -> None:
    assert {one.value for one in kind} == set(SCHEMAS[kind.__name__]["enum"])


def test_every_operation_has_a_method() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in Path("services/client/aio").glob("*.py"))
    called = {
        re.sub(r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}", "{}", path) for path in re.findall(r'f?"(/[^"]*)"', text)
    }
    helpers = {
        "_path(run_id)": "/runs/{}",
        "_adapter(name)": "/adapters/{}",
        "_route(name)": "/routes/{}",
        "_path(webhook_id)": "/webhooks/{}",
        "_review(review_id)": "/reviews/{}",
        "_one(monitor_id)": "/monitors/{}",
    }
    for helper, path in helpers.items():
        called |= {path} if helper in text else set()
        rests = re.findall(re.escape("{" + helper + "}") + r"([^\"]*)\"", text)
        called |= {path + re.sub(r"\{\w+\}", "{}", rest) for rest in rests}
    # Verbs that one method spells: cancel, pause, approve …
    called |= {f"/runs/{{}}/{verb}" for verb in re.findall(r'_steer\(run_id, "(\w+)"', text)}
    called |= {f"/adapters/{{}}/{verb}" for verb in re.findall(r'_change\(name, "(\w+)"', text)}
    missing = []
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            short = re.sub(r"\{\w+\}", "{}", path.removeprefix("/v1"))
            if operation["operationId"] not in BY_REQUEST and short not in called:
                missing.append(f"{operation['operationId']} {short}")
    assert missing == []


def test_a_status_of_a_newer_orchestrator_stays_the_text_that_came() -> None:
    example = SCHEMAS["Run"]["examples"][0]
    run = models.Run.model_validate({**example, "status": "asleep", "more": 1})
    assert (run.status, run.ended) == ("asleep", False)
    assert type(models.Run.model_validate(example).status) is models.RunStatus


def test_synchronous_half_is_made_of_the_asynchronous_one(tmp_path: Path) -> None:
    for name, text in made().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", "pyproject.toml"]
    subprocess.run([*ruff, "check", "--fix", "-q", *config, "--select", "I", str(tmp_path)], check=True)
    subprocess.run([*ruff, "format", "-q", *config, str(tmp_path)], check=True)
    for file in sorted(tmp_path.glob("*.py")):
        assert (TARGET / file.name).read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), (
            "run `make client`"
        )
    assert {file.name for file in TARGET.glob("*.py")} == set(made())
