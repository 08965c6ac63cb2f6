"""A monitor's page, of a real monitor that the real orchestrator has measured by."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import expect

from services.orchestrator.monitor.live.records import Sample
from services.orchestrator.monitor.records import Found, Kind
from services.orchestrator.store import SqlRunStore
from tests.chaos.campaign.processes import answer_of, until
from tests.e2e.web.system import Website
from tests.e2e.web.watching import Person
from tests.fakes.monitors import monitor_text

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def monitor(site: Website) -> dict[str, Any]:
    """With a baseline and two periods by the orchestrator, and an alarm that the store is told of."""
    live = {"rate": 0.05, "window": 20}
    store = SqlRunStore(f"sqlite:///{site.folder / 'orchestrator.db'}")
    routes = store.registry.routes
    if routes.get("valign") is None:
        routes.set("valign", adapter="", expected_version=0, reason="a test", action="adapter.promote")
    version = getattr(routes.get("valign"), "version", 0)
    with site.client("root") as client:
        text = monitor_text(schedule="0 0 1 1 *", description="Watched by a test.", live=live)
        made = answer_of(client.post("/v1/monitors", json={"document": text}))
        path = f"/v1/monitors/{made['monitor_id']}"

        def measured(count: int) -> bool:
            found = answer_of(client.get(f"{path}/measurements"))["measurements"]
            assert all(one["state"] != "failed" for one in found), found
            return sum(one["state"] == "succeeded" for one in found) == count

        until(lambda: measured(1), 60, "the baseline is taken")
        for count in (2, 3):
            client.post(f"{path}/measure")
            until(lambda count=count: measured(count), 60, "it measures")
    queued = store.platform.monitors.enqueue(made["monitor_id"], Kind.SCHEDULED, datetime.now(UTC))
    result = {"p_value": 0.001, "confirm_p_value": 0.001, "by_topic": {}, "moved": ["privacy"]}
    measuring = store.platform.measuring
    begun = measuring.begin(queued, Kind.SCHEDULED, version, 1)
    measuring.succeed(begun, Found.DRIFT, "drift, as the test wants it", result)
    sample = Sample(
        made["monitor_id"], 0, 0, "r1", "Who is [email]?", "<b>Nobody</b>.", "", datetime.now(UTC)
    )
    store.platform.live.put(made["monitor_id"], [sample], 100)
    store.close()
    return dict(made)


def test_monitor_shows_its_history_and_its_alarm_is_acknowledged(
    person: Callable[..., Person], monitor: dict[str, Any]
) -> None:
    ann = person("ann")
    page = ann.open("/", "Overview")
    expect(page.get_by_role("region", name="Monitors and alarms").first).to_contain_text("drift")
    page.get_by_role("link", name="Monitors", exact=True).click()
    page.get_by_role("link", name=monitor["name"]).click()
    chart = page.get_by_role("img", name="Value difference by topic")
    expect(chart).to_be_visible()
    name = str(chart.get_attribute("aria-label"))
    assert all(f"{topic['id']}: from " in name for topic in monitor["document"]["topics"]), name
    measurements = page.get_by_role("table", name="Measurements, newest first")
    expect(measurements.get_by_role("row")).to_have_count(5)
    expect(measurements).to_contain_text("no drift")
    faults = ann.faults()
    page.get_by_role("button", name="Acknowledge…").click()
    page.get_by_label("Comment").fill("Seen.")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("table", name="Alarms, newest first")).to_contain_text("Seen.")
    page.get_by_role("button", name="Pause…").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume…")).to_be_visible()
    assert not faults, "\n".join(faults)


def test_exchanges_are_shown_as_text_to_whoever_may_and_asks(
    person: Callable[..., Person], site: Website, monitor: dict[str, Any]
) -> None:
    address = f"/monitors/{monitor['monitor_id']}"
    guest = person("guest").open(address, monitor["name"])
    refused = guest.get_by_role("button", name="Show exchanges…")
    expect(refused).to_have_attribute("aria-disabled", "true")

    def reads() -> int:
        with site.client("root") as client:
            lines = client.get("/v1/audit-log").text.splitlines()
        return sum(json.loads(line).get("action") == "monitor.read_samples" for line in lines)

    before = reads()
    root = person("root")
    page = root.open(address, monitor["name"])
    page.get_by_role("button", name="Show exchanges…").click()
    assert reads() == before, "nothing is read before somebody says so"
    page.get_by_role("dialog").get_by_role("button", name="Show").click()
    shown = page.get_by_role("table", name="Exchanges, newest first")
    expect(shown).to_contain_text("Who is [email]?")
    expect(shown).to_contain_text("<b>Nobody</b>.")
    assert reads() == before + 1
    assert not root.faults()
