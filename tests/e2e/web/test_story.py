"""The web page as people use it, in a real browser: from a new run to a roll-back, by two people."""

import contextlib
import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as BrowserTimeoutError

from tests.e2e.web.system import Website
from tests.e2e.web.watching import Person

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

Opens = Callable[..., Person]
Picture = Callable[[Page, str], None]


def sign_in(one: Person, name: str) -> None:
    one.page.goto(one.site.url)
    one.page.get_by_label("API key").fill(one.site.keys[name])
    one.page.get_by_role("button", name="Sign in").click()
    one.page.get_by_role("heading", level=1, name="Overview").wait_for()


def confirm(page: Page, opens: str, does: str) -> None:
    """Open a dialog by one button and press the other one in it; it closes once that has worked."""
    page.get_by_role("button", name=opens, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=does, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_run_is_begun_watched_approved_promoted_and_rolled_back_by_two_people(
    person: Opens, site: Website, picture: Picture
) -> None:
    ann, bea = person(), person()
    sign_in(ann, "ann")
    page = ann.page
    page.get_by_role("link", name="New run").click()
    page.get_by_label("Study (YAML or JSON)").fill("name: Not A Slug\nprinciples_per_topc: 3\n")
    ann.allowed_statuses.add(422)
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 2, column 1: principles_per_topc")
    picture(page, "new-run")
    ann.allowed_statuses.clear()
    page.get_by_label("Study (YAML or JSON)").fill(site.study(name="live-study", principles=60))
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".notice")).to_contain_text("valid")
    page.get_by_role("button", name="Begin the run").click()

    page.get_by_role("heading", level=1, name="live-study").wait_for()
    expect(page.get_by_text("Live: what happens is shown")).to_be_visible()
    expect(page.get_by_role("row", name="Realign, iteration 2")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("img", name="Training loss")).to_be_visible()
    expect(page.get_by_role("img", name="Value difference by topic")).to_be_visible()
    picture(page, "run-live")
    expect(page.locator(".verdict")).to_contain_text("Promote:", timeout=60_000)
    expect(page.locator(".head .badge")).to_contain_text("succeeded")
    expect(page.frame_locator("iframe").get_by_role("heading", name="live-study")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    picture(page, "run-finished")

    run_id = page.url.rpartition("/")[2]
    name = site.candidate(run_id)
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", level=1, name=name).wait_for()
    approve = page.get_by_role("button", name="Approve…")
    expect(approve).to_have_attribute("aria-disabled", "true")
    expect(approve).to_have_accessible_description("This needs the scope “approve”; key:ann has read, run.")

    sign_in(bea, "bea")
    page = bea.page
    expect(page.get_by_role("region", name="Adapters that wait")).to_contain_text(name)
    page.get_by_role("region", name="Adapters that wait").get_by_role("link", name=name).click()
    promote = page.get_by_role("button", name="Promote…")
    expect(promote).to_have_accessible_description(
        "It waits for the approval of somebody other than key:ann."
    )
    page.get_by_role("button", name="Approve…").click()
    page.get_by_label("Comment").fill("Read forty of its texts.")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("region", name="Approvals").first).to_contain_text("key:bea")

    promote.click()
    page.get_by_label("Public name").fill("assistant")
    expect(page.get_by_role("dialog")).to_contain_text(
        "“assistant” serves now: nothing was ever set, so the base model."
    )
    picture(page, "promote")
    page.get_by_role("dialog").get_by_role("button", name="Promote", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".head .badge").first).to_contain_text("promoted")
    picture(page, "adapter")
    with site.client("bea") as client:
        assert client.get("/v1/routes/assistant").json()["route"]["adapter"] == name

    second = site.candidate(site.finish("ann", site.begin("ann", name="second-study"))["run_id"])
    with site.client("root") as client:
        assert client.post(f"/v1/adapters/{second}/approve", json={}).status_code == 200
    bea.open(f"/adapters/{second}", second)
    page.get_by_role("button", name="Canary…").click()
    page.get_by_label("Public name").fill("assistant")
    slider = page.get_by_role("slider", name="Share of the requests")
    slider.focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog").locator("output")).to_have_text("25 %")
    page.get_by_role("button", name="Set the canary").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("region", name="Facts").get_by_role("link", name="assistant").click()
    page.get_by_role("heading", level=1, name="assistant").wait_for()
    expect(page.get_by_role("region", name="Now")).to_contain_text("25 %")
    picture(page, "route")
    bea.open("/", "Overview")
    expect(page.get_by_role("region", name="Public names").first).to_contain_text("Canary 25 %")
    expect(page.get_by_role("region", name="Services and the models")).to_contain_text("fake/model")
    picture(page, "overview")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 780})
    picture(page, "phone")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")
    bea.open("/routes/assistant", "assistant")
    confirm(page, "End the canary…", "End the canary")
    expect(page.get_by_role("region", name="Now")).to_contain_text("none")

    page.get_by_role("button", name="Roll back…").click()
    page.get_by_label("Why").fill("A drill.")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("region", name="Now")).to_contain_text("the base model")
    expect(page.get_by_role("region", name="History").first).to_contain_text("A drill.")
    with site.client("bea") as client:
        assert client.get("/v1/routes/assistant").json()["route"]["adapter"] == ""


def test_run_is_paused_resumed_cancelled_and_retried_from_its_page(person: Opens, site: Website) -> None:
    run_id = site.begin("ann", name="steered", principles=50)
    ann = person("ann")
    page = ann.open(f"/runs/{run_id}", "steered")
    state = page.locator(".head .badge")
    confirm(page, "Pause…", "Pause")
    expect(state).to_contain_text("paused", timeout=30_000)
    confirm(page, "Resume", "Resume")
    expect(state).to_contain_text("running", timeout=30_000)
    confirm(page, "Cancel…", "Cancel the run")
    expect(state).to_contain_text("cancelled", timeout=30_000)
    page.get_by_role("button", name="Retry…").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
    expect(state).to_contain_text("succeeded", timeout=60_000)
    expect(page.locator(".facts").first).to_contain_text("2")
    expect(page.locator(".verdict")).to_be_visible()


def test_second_press_of_begin_gives_the_same_run(person: Opens, site: Website) -> None:
    ann = person("ann")
    page = ann.open("/runs/new", "New run")
    page.get_by_label("Study (YAML or JSON)").fill(
        site.study(name="pressed-twice", measure_only=True, principles=3)
    )
    keys: list[str] = []
    page.on(
        "request",
        lambda one: keys.append(one.headers.get("idempotency-key", "")) if one.method == "POST" else None,
    )
    page.get_by_role("button", name="Begin the run").dblclick()
    page.get_by_role("heading", level=1, name="pressed-twice").wait_for()
    with site.client("ann") as client:
        named = [run for run in client.get("/v1/runs").json()["runs"] if run["name"] == "pressed-twice"]
    assert len(named) == 1
    assert len(set(keys)) == 1


def test_run_that_its_budget_ended_says_what_was_used_and_left_out(person: Opens, site: Website) -> None:
    run_id = site.begin("ann", name="short-of-steps", budget={"max_training_steps": 1})
    site.finish("ann", run_id)
    page = person("ann").open(f"/runs/{run_id}")
    cost = page.get_by_role("region", name="Cost", exact=True)
    expect(cost).to_contain_text("The budget was reached. budget.max_training_steps allows 1: 0 were used")
    expect(cost).to_contain_text("Left out: all training.")
    expect(cost.get_by_role("row", name="Training steps")).to_contain_text("1")
    expect(cost.get_by_role("row", name="Completions").get_by_role("cell").first).to_have_text(
        re.compile(r"[1-9]")
    )
    expect(page.get_by_role("list", name="Events")).to_contain_text("budget.max_training_steps allows 1")


def test_stream_that_breaks_goes_on_after_the_last_event_seen(
    person: Opens, site: Website, finished_run: str
) -> None:
    ann = person("ann")
    whole = ""
    with site.client("ann") as client, client.stream("GET", f"/v1/runs/{finished_run}/events") as answer:
        whole = "".join(answer.iter_text()).replace("\r\n", "\n")
    seen: list[str | None] = []

    def cut(route, request) -> None:  # type: ignore[no-untyped-def]
        seen.append(request.headers.get("last-event-id"))
        if len(seen) > 1:
            route.continue_()
            return
        # Three events, and the first bytes of a fourth.
        begun = "".join(f"{block}\n\n" for block in whole.split("\n\n")[:3])
        route.fulfill(status=200, content_type="text/event-stream", body=f"{begun}id: 4\neve")

    ann.page.route("**/events", cut)
    page = ann.open(f"/runs/{finished_run}")
    expect(page.get_by_text("The run has ended.")).to_be_visible()
    assert seen[:2] == [None, "3"]
    shown = [int(text) for text in page.locator(".log li > :first-child").all_inner_texts()]
    kinds = [json.loads(line[5:]) for line in whole.splitlines() if line.startswith("data:")]
    quiet = ("stage.progress", "training.progress", "service.waiting")
    assert shown == [event["number"] for event in reversed(kinds) if event["kind"] not in quiet]


def test_key_that_is_revoked_asks_for_another_and_signing_out_forgets_it(
    person: Opens, site: Website
) -> None:
    with site.client("root") as client:
        made = client.post("/v1/api-keys", json={"name": "short-lived", "scopes": ["read"]}).json()
    one = person()
    one.site.keys["short-lived"] = made["secret"]
    sign_in(one, "short-lived")
    with site.client("root") as client:
        client.post(f"/v1/api-keys/{made['api_key']['key_id']}/revoke")
    one.allowed_statuses.add(401)
    # The page looks for news by itself: if it was told before the click, there is no link any more.
    with contextlib.suppress(BrowserTimeoutError):
        one.page.get_by_role("link", name="Runs", exact=True).click(timeout=3000)
    expect(one.page.get_by_role("alert")).to_contain_text("The key is no longer accepted")
    one.page.get_by_label("API key").fill(site.keys["guest"])
    one.page.keyboard.press("Enter")
    one.page.get_by_role("heading", level=1, name="Runs").wait_for()
    assert one.page.evaluate("Object.keys(localStorage).includes('valign.key')") is False
    one.page.get_by_role("button", name="Sign out").click()
    one.page.get_by_role("heading", level=1, name="Sign in").wait_for()
    assert one.page.evaluate("sessionStorage.length") == 0


def test_server_without_credentials_asks_for_no_key(person: Opens, open_site: Website) -> None:
    one = person(at=open_site)
    one.open("/", "Overview")
    expect(one.page.get_by_text("local", exact=True)).to_be_visible()
    expect(one.page.get_by_role("button", name="Sign out")).to_have_count(0)
