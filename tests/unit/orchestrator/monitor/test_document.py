"""The monitor's document: what it may say, and where its faults are."""

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.documents import parse_document
from services.orchestrator.monitor.document import MonitorDocument, next_fire

BASE = "name: one\ntarget:\n  route: valign\n"


def _errors(text: str) -> list[dict[str, Any]]:
    with pytest.raises(InvalidInputError) as caught:
        parse_document(text, MonitorDocument)
    return list(caught.value.details["errors"])


def test_shipped_template_is_a_monitor_with_the_defaults() -> None:
    text = (files("services") / "orchestrator/data/monitors/template.yaml").read_text(encoding="utf-8")
    assert parse_document(text, MonitorDocument) == parse_document(
        "name: public-name\ntarget: {route: valign}\n", MonitorDocument
    )


@pytest.mark.parametrize(
    ("added", "line", "path", "words"),
    [
        ("schedule: '*/5 * * * * *'", 4, "schedule", "five fields"),
        ("schedule: 61 * * * *", 4, "schedule", "no schedule"),
        ("schedule: 0 0 30 2 *", 4, "schedule", "no schedule"),
        ("time_zone: Mars/Base", 4, "time_zone", "no IANA time zone"),
        ("alarms:\n  significance: 0.5", 5, "alarms.significance", "less than"),
        ("alarms:\n  significance: 0.002\n  permutations: 199", 4, "alarms", "ask for 500"),
        ("on_drift: restart", 4, "on_drift", ""),
        ("surprise: 1", 4, "surprise", "unknown key"),
    ],
)
def test_fault_is_told_with_its_line(added: str, line: int, path: str, words: str) -> None:
    error = _errors(BASE + added)[0]
    assert (error["line"], error["path"].split(".")[0]) == (line, path.split(".")[0])
    assert words in error["message"]


def test_target_is_a_route_or_an_endpoint() -> None:
    assert "either" in _errors("name: one\ntarget: {}\n")[0]["message"]
    both = "name: one\ntarget: {route: a, endpoint: {url: 'https://x.example', model: m}}\n"
    assert "either" in _errors(both)[0]["message"]


def test_endpoint_holds_no_secret() -> None:
    text = "name: one\ntarget:\n  endpoint: {url: 'https://u:hunter2@x.example', model: m}\n"
    message = _errors(text)[0]["message"]
    assert "hunter2" not in message


def test_next_fire_keeps_to_the_zone_across_a_change_of_clocks() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    first = next_fire("0 6 * * *", "Europe/Berlin", before)
    assert first == datetime(2026, 3, 29, 4, tzinfo=UTC), "06:00 in summer"
    assert next_fire("0 6 * * *", "UTC", before) == datetime(2026, 3, 29, 6, tzinfo=UTC)
