"""A monitor's page, drawn from what the server describes; here a double in the browser's network layer."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Request, Route, expect

from tests.e2e.web.watching import Person

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_MONITOR = {
    "monitor_id": "mo-1",
    "title": "Public name",
    "state": "drift",
    "route": "valign",
    "schedule": "0 * * * *",
}
_FOUND = [
    {
        "number": number,
        "measure_time": f"2026-11-26T0{number}:00:00Z",
        "by_topic": {"privacy": {"value": 0.3 + number / 50, "low": 0.25, "high": 0.5}, "fairness": 0.4},
        "state": "normal" if number < 3 else "drift",
    }
    for number in range(1, 5)
]
_BODY = {"type": "object", "required": ["comment"], "properties": {"comment": {"type": "string"}}}
_PATHS = {
    "/v1/monitors": {"get": {"operationId": "listMonitors"}},
    "/v1/monitors/{monitor_id}": {"get": {"operationId": "getMonitor"}},
    "/v1/monitors/{monitor_id}/measure": {
        "post": {
            "operationId": "measureMonitor",
            "summary": "Measure now",
            "description": "It asks the model.",
        }
    },
    "/v1/monitors/{monitor_id}/measurements": {
        "get": {"operationId": "listMeasurements", "summary": "Measurements"}
    },
    "/v1/monitors/{monitor_id}/measurements/{number}/acknowledge": {
        "post": {
            "operationId": "acknowledge",
            "summary": "Acknowledge",
            "requestBody": {"content": {"application/json": {"schema": _BODY}}},
        }
    },
}


def test_monitor_shows_its_history_as_a_chart_and_what_can_be_done(person: Callable[..., Person]) -> None:
    root = person("root")
    posted: list[tuple[str, object]] = []

    def describe(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["paths"].update(_PATHS)
        route.fulfill(response=answer, json=found)

    def monitors(route: Route, request: Request) -> None:
        path = request.url.partition("/v1/monitors")[2].partition("?")[0]
        if request.method == "POST":
            posted.append((path, request.post_data_json))
            route.fulfill(json={})
        elif path == "":
            route.fulfill(json={"monitors": [_MONITOR], "next_page_token": ""})
        elif path.endswith("/measurements"):
            route.fulfill(json={"measurements": _FOUND, "baseline": {"low": 0.3, "high": 0.35}})
        else:
            route.fulfill(json=_MONITOR)

    root.page.route("**/openapi.json", describe)
    root.page.route("**/v1/monitors**", monitors)
    root.page.route("**/v1/monitors/**", monitors)
    page = root.open("/", "Overview")
    expect(page.get_by_role("region", name="Monitors and alarms").first).to_contain_text("drift")
    page.get_by_role("link", name="Monitors", exact=True).click()
    page.get_by_role("link", name="Public name").click()
    chart = page.get_by_role("img", name="Value difference by topic")
    expect(chart).to_be_visible()
    expect(chart).to_have_accessible_name(
        "Value difference by topic. privacy: from 0.320 to 0.380; fairness: from 0.400 to 0.400"
    )
    expect(chart.locator(".band")).to_have_count(1)
    faults = root.faults()
    page.get_by_role("button", name="Measure now…").click()
    expect(page.get_by_role("dialog")).to_contain_text("It asks the model.")
    page.get_by_role("dialog").get_by_role("button", name="Measure now").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Acknowledge…").last.click()
    page.get_by_label("Comment").fill("Seen.")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert posted == [("/mo-1/measure", {}), ("/mo-1/measurements/4/acknowledge", {"comment": "Seen."})]
    assert not faults, "\n".join(faults)
