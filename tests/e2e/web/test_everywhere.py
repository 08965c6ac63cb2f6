"""What holds on every page: no fault for assistive technology, no text that acts, no other origin."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.e2e.web.system import Website
from tests.e2e.web.watching import Person

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

Opens = Callable[..., Person]

HOSTILE = (
    '"\'><img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload=window.hacked=1>'
)
"""Put behind every text that the server answers."""


def pages(run_id: str, adapter: str) -> list[str]:
    """Every address of the page's own list that can be shown without a monitor or a review."""
    return [
        "/",
        "/runs",
        "/runs/new",
        f"/runs/{run_id}",
        f"/compare?runs={run_id},{run_id}",
        "/adapters",
        f"/adapters/{adapter}",
        "/routes",
        "/references?old=gdpr-article-5&new=eu-ai-act",
        "/references/gdpr-article-5",
        "/audit",
    ]


def test_every_page_has_no_severe_fault_light_or_dark_and_fits_a_phone(
    person: Opens, site: Website, finished_run: str
) -> None:
    nobody = person()
    nobody.page.goto(site.url)
    nobody.page.get_by_role("heading", level=1, name="Sign in").wait_for()
    root = person("root")
    root.allowed_statuses.update({412, 422})  # a run is not compared with itself
    faults = nobody.faults()
    for address in pages(finished_run, site.candidate(finished_run)):
        page = root.open(address)
        if address == "/runs/new":
            page.get_by_label("Study (YAML or JSON)").fill("name: X X\n")
            page.get_by_role("button", name="Check").click()
            page.get_by_role("alert").wait_for()
        faults += root.faults()
        page.emulate_media(color_scheme="dark")
        faults += [f"dark: {one}" for one in root.faults("color-contrast")]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 360, "height": 700})
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > 360:
            faults.append(f"{address} is {wide} pixels wide on a phone of 360")
        page.set_viewport_size({"width": 1280, "height": 800})
    assert not faults, "\n".join(faults)


def test_dialogs_have_no_severe_fault_and_give_the_focus_back(
    person: Opens, site: Website, finished_run: str
) -> None:
    root = person("root")
    page = root.open(f"/adapters/{site.candidate(finished_run)}")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    faults = root.faults()
    page.keyboard.press("Escape")
    for name in ("Approve…", "Reject…"):
        button = page.get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        faults += root.faults()
        page.keyboard.press("Escape")
        expect(button).to_be_focused()
    assert not faults, "\n".join(faults)


def test_error_of_a_dialog_stays_in_it_with_the_remedy(
    person: Opens, site: Website, finished_run: str
) -> None:
    root = person("root")
    root.allowed_statuses.add(412)
    page = root.open(f"/adapters/{site.candidate(finished_run)}")
    page.route(
        "**/approve",
        lambda route: route.fulfill(
            status=412,
            content_type="application/problem+json",
            body=json.dumps({"title": "A condition does not hold", "detail": "Ask somebody else."}),
        ),
    )
    page.get_by_role("button", name="Approve…").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Ask somebody else.")
    page.keyboard.press("Escape")


def _hostile(value: Any, place: str = "") -> Any:
    # Numbers, times and what the page has to understand stay; every other text is theirs.
    if isinstance(value, dict):
        return {name: _hostile(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_hostile(one, place) for one in value]
    if isinstance(value, str) and place not in ("scopes", "create_time", "time", "next_page_token"):
        return value + HOSTILE
    return value


def _hostile_line(line: str) -> str:
    start = "data: " if line.startswith("data: ") else ""
    data = line.removeprefix(start)
    return start + json.dumps(_hostile(json.loads(data))) if data.startswith("{") else line


def _poison(route: Route, request: Request) -> None:
    answer = route.fetch()
    kind = answer.headers.get("content-type", "")
    if "json" in kind and "ndjson" not in kind:
        route.fulfill(response=answer, body=json.dumps(_hostile(answer.json())))
    elif "ndjson" in kind or "event-stream" in kind:
        body = "\n".join(_hostile_line(line) for line in answer.text().splitlines())
        route.fulfill(response=answer, body=body + "\n\n")
    else:
        route.fulfill(response=answer)


def test_texts_with_markup_are_shown_as_they_are_and_nothing_executes(
    person: Opens, site: Website, finished_run: str
) -> None:
    root = person("root")
    root.allowed_statuses.update({404, 412, 422})
    adapter = site.candidate(finished_run)
    root.page.route("**/v1/**", _poison)
    for address in pages(finished_run, adapter):
        page = root.open(address)
        assert page.evaluate("window.hacked") is None, address
        assert page.locator("img[src=x], main script, main svg[onload]").count() == 0, address
    page = root.open("/runs")
    expect(page.get_by_role("main")).to_contain_text(HOSTILE)
    root.page.unroute_all()


def test_words_of_people_with_markup_are_kept_and_shown_as_they_are(
    person: Opens, site: Website, finished_run: str
) -> None:
    adapter = site.candidate(finished_run, state="retired")
    root = person("root")
    page = root.open(f"/adapters/{adapter}")
    page.get_by_role("button", name="Reject…").click()
    page.get_by_label("What is wrong with it").fill(HOSTILE)
    page.get_by_role("button", name="Reject for good").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".head")).to_contain_text(HOSTILE)
    root.open("/audit")
    expect(page.get_by_role("main")).to_contain_text("window.hacked=1")
    assert page.evaluate("window.hacked") is None


def tab_to(page: Page, name: str, most: int = 90) -> None:
    """Press Tab until what has the focus is called ``name``; it must be seen to have it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        found: dict[str, Any] = page.evaluate(
            """() => { const one = document.activeElement; const style = getComputedStyle(one);
            const label = one.labels?.[0]?.textContent ?? one.textContent;
            return {name: label.trim(), seen: style.outlineStyle !== 'none'}; }"""
        )
        if found["name"] == name:
            assert found["seen"], f"the focus on {name!r} is not to be seen"
            return
    raise AssertionError(f"{name!r} was not reached with {most} tabs")


def test_main_path_needs_no_mouse(person: Opens, site: Website) -> None:
    root = person()
    page = root.page
    page.goto(site.url)
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.insert_text(site.keys["root"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_focused()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1, name="New run")).to_be_focused()
    tab_to(page, "Study (YAML or JSON)")
    page.keyboard.insert_text(site.study(name="by-keyboard", promotion={"approval": False}))
    tab_to(page, "Begin the run")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="by-keyboard")).to_be_focused()
    expect(page.locator(".verdict")).to_contain_text("Promote:", timeout=90_000)
    adapter = site.candidate(page.url.rpartition("/")[2])
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", level=1, name="Adapters")).to_be_focused()
    page.get_by_role("link", name=adapter).wait_for()
    tab_to(page, adapter)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name=adapter)).to_be_focused()
    tab_to(page, "Promote…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to(page, "Promote")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("status").first).to_contain_text("serves")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", level=1, name="Routes")).to_be_focused()


def test_single_keys_can_be_turned_off(person: Opens) -> None:
    page = person("guest").open("/", "Overview")
    page.keyboard.press("?")
    page.get_by_label("Shortcuts of single keys are on").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()


def test_theme_that_was_chosen_stays(person: Opens) -> None:
    page = person("guest").open("/", "Overview")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_page_loads_with_all_networks_but_its_own_server_cut(person: Opens, site: Website) -> None:
    guest = person("guest")
    asked: list[str] = []

    def only_ours(route: Route, request: Request) -> None:
        asked.append(request.url)
        if request.url.startswith(f"{site.url}/"):
            route.continue_()
        else:
            route.abort()

    guest.context.route("**/*", only_ours)
    guest.open("/", "Overview")
    assert asked
    assert all(url.startswith(f"{site.url}/") for url in asked)


def test_caller_who_may_only_read_is_told_why_it_cannot_act(
    person: Opens, site: Website, finished_run: str
) -> None:
    guest = person("guest")
    page = guest.open(f"/adapters/{site.candidate(finished_run)}")
    for name, scope in (("Approve…", "approve"), ("Promote…", "promote"), ("Reject…", "approve")):
        button = page.get_by_role("button", name=name)
        expect(button).to_have_accessible_description(f"This needs the scope “{scope}”; key:guest has read.")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
    guest.allowed_statuses.add(403)
    guest.open("/audit")
    expect(page.get_by_role("alert")).to_contain_text("needs the scope 'admin'")
