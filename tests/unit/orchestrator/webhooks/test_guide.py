"""``docs/guides/events.md``: every event has an example that is one, and the code that it offers works."""

import ast
import base64
import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.webhooks.cloud_event import body_of
from services.orchestrator.webhooks.records import Delivery
from services.orchestrator.webhooks.signing import sign

ROOT = Path(__file__).resolve().parents[4]
GUIDE = (ROOT / "docs" / "guides" / "events.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### (\S+)\n(?:(?!^###).)*?```json\n(.*?)```", GUIDE, re.DOTALL | re.MULTILINE))
HEADERS = {"webhook-id": "m-1"}
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def test_guide_has_an_example_of_every_event() -> None:
    assert sorted(EXAMPLES) == sorted(EVENT_TYPES)


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_example_is_what_would_be_sent(kind: str) -> None:
    example = json.loads(EXAMPLES[kind])
    event_type = EVENT_TYPES[kind]
    Draft202012Validator(event_type.schema()).validate(example["data"])
    assert set(example["data"]) == set(event_type.data.model_fields)
    delivery = Delivery(
        webhook_id="wh-1",
        number=1,
        event_id=example["id"],
        event_type=kind,
        subject=example["subject"],
        event_time=datetime.fromisoformat(example["time"]),
        data=example["data"],
    )
    assert json.loads(body_of(delivery, "https://valign.example.org")) == example
    assert JSONFormat().read(None, EXAMPLES[kind]).get_type() == f"valign.{kind}.v1"


def test_events_of_an_installation_without_a_url_have_a_source_too() -> None:
    time = datetime.fromisoformat("2026-11-26T14:03:05Z")
    for kind, schema in (("run.ended", "urn:valign:event-type:run.ended"), ("of.a.later.version", None)):
        event = json.loads(body_of(Delivery("wh-1", 1, "e-1", kind, "runs/r-1", time, {"n": 1}), ""))
        assert (event["source"], event.get("dataschema")) == ("urn:valign:installation", schema)


def _verified() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "events.md", "exec"), names)  # noqa: S102 - the guide's own code is what is tested
    return names["verified"]


def _headers(body: bytes, age_s: int = 0, keys: tuple[bytes, ...] = (KEY,)) -> dict[str, str]:
    sent_s = int(time.time()) - age_s
    signature = sign(keys, "m-1", sent_s, body)
    return {**HEADERS, "webhook-timestamp": str(sent_s), "webhook-signature": signature}


def test_snippet_of_the_guide_takes_what_valign_signs() -> None:
    verified = _verified()
    assert verified(SECRET, _headers(b"{}"), b"{}")
    # While a secret is being rotated there are two.
    assert verified(SECRET, _headers(b"{}", keys=(b"x" * 32, KEY)), b"{}")
    assert verified(SECRET, _headers(b"{}", keys=(KEY, b"x" * 32)), b"{}")


def test_snippet_of_the_guide_refuses_everything_else() -> None:
    verified = _verified()
    good = _headers(b"{}")
    assert not verified(SECRET, good, b"{} ")
    assert not verified("whsec_" + base64.b64encode(b"y" * 32).decode(), good, b"{}")
    assert not verified(SECRET, {**good, "webhook-id": "m-2"}, b"{}")
    assert not verified(SECRET, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}, b"{}")
    assert not verified(SECRET, _headers(b"{}", age_s=400), b"{}")
    assert not verified(SECRET, _headers(b"{}", age_s=-400), b"{}")
    for name in good:
        assert not verified(SECRET, {key: value for key, value in good.items() if key != name}, b"{}")
    assert not verified(SECRET, {**good, "webhook-signature": "v1,é v1, v2,"}, b"{}")


def test_every_kind_that_is_announced_is_in_the_catalogue() -> None:
    """Whoever announces something new documents it, with a schema and an example."""
    announced: set[str] = set()
    for path in (ROOT / "services" / "orchestrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "announce"
            )
            if named and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                announced.add(str(node.args[1].value))
    assert announced <= set(EVENT_TYPES), "add them to event_types.py and docs/guides/events.md"
