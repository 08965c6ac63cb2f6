"""The rules that hold the REST contract together: each kind of break is seen, and an addition is none."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.openapi_changes import breaking

DOCUMENT: dict[str, Any] = json.loads(Path("docs/openapi.json").read_text(encoding="utf-8"))


def _changed(change: Callable[[dict[str, Any]], Any]) -> list[str]:
    new = copy.deepcopy(DOCUMENT)
    change(new)
    return breaking(DOCUMENT, new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda new: new["paths"].pop("/v1/runs/{run_id}"), "GET /v1/runs/{run_id} is gone"),
        (
            lambda new: new["paths"]["/v1/runs"]["get"].update(operationId="runs"),
            "GET /v1/runs was called listRuns, now runs",
        ),
        (
            lambda new: new["paths"]["/v1/runs"]["get"]["parameters"].pop(0),
            "GET /v1/runs takes no status any more",
        ),
        (
            lambda new: new["paths"]["/v1/runs"]["get"]["parameters"][0].update(required=True),
            "GET /v1/runs now requires status",
        ),
        (
            lambda new: new["paths"]["/v1/runs"]["post"]["responses"].pop("200"),
            "POST /v1/runs does not answer 200 any more",
        ),
        (lambda new: new["components"]["schemas"].pop("Route"), "schema Route is gone"),
        (
            lambda new: new["components"]["schemas"]["Run"]["properties"].pop("name"),
            "Run has no name any more",
        ),
        (lambda new: new["components"]["schemas"]["Run"]["required"].remove("name"), "Run may now lack name"),
        (
            lambda new: new["components"]["schemas"]["Study"]["required"].append("seed"),
            "Study now requires seed",
        ),
        (
            lambda new: new["components"]["schemas"]["RunStatus"]["enum"].remove("paused"),
            "RunStatus has no 'paused' any more",
        ),
        (
            lambda new: new["components"]["schemas"]["Run"]["properties"]["attempt"].update(type="string"),
            "Run.attempt was integer, now string",
        ),
    ],
)
def test_breaking_change_is_seen(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    assert said in _changed(change)


def test_additions_break_nothing() -> None:
    def add(new: dict[str, Any]) -> None:
        new["paths"]["/v1/new"] = new["paths"]["/v1/system"]
        new["components"]["schemas"]["Run"]["properties"]["more"] = {"type": "string"}
        new["components"]["schemas"]["Run"]["required"].append("more")
        new["components"]["schemas"]["Study"]["properties"]["more"] = {"type": "string"}
        new["components"]["schemas"]["RunStatus"]["enum"].append("asleep")
        new["paths"]["/v1/runs"]["get"]["parameters"].append({"in": "query", "name": "more"})

    assert _changed(add) == []
