"""A human review on the page: rated blind with digits, undone, flagged, closed.

The first tests have the routes from a double, so that each item is known; the last has the server's own.
"""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.web.system import Website
from tests.e2e.web.watching import Person
from tests.fakes.review_routes import ReviewRoutes

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]

Opens = Callable[..., Person]

HOSTILE = 'A text <img src=x onerror="window.hacked=1"> of a model.'


def test_review_is_rated_blind_by_digits_changed_flagged_and_closed(
    person: Opens, picture: Callable[[Page, str], None]
) -> None:
    routes = ReviewRoutes(
        ["Everybody can ask which of their data a system keeps, and for what.", HOSTILE, "Third.", "Fourth."]
    )
    root = person("root")
    routes.serve(root.page)
    page = root.open("/reviews", "Reviews")
    faults = root.faults()
    page.get_by_role("link", name="Texts of the live study").click()
    item = page.get_by_role("heading", level=3)
    expect(item).to_have_text("Item 1: Privacy")
    expect(page.get_by_text("Everybody can ask")).to_be_visible()
    faults += root.faults()
    for arm in ("tuned", "base_p3", "original", "realigned"):
        assert arm not in page.get_by_role("main").inner_text().lower()
    picture(page, "review")

    page.keyboard.press("7")
    expect(item).to_have_text("Item 2: Privacy")
    expect(page.locator(".text").first).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("0")
    expect(item).to_have_text("Item 3: Privacy")
    assert routes.ratings == {1: {"rating": 7, "comment": ""}, 2: {"rating": 10, "comment": ""}}

    page.keyboard.press("u")
    expect(item).to_have_text("Item 2: Privacy")
    expect(page.get_by_role("button", name="10", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("c")
    # What is typed into a field is a text and no shortcut.
    page.keyboard.type("Seen 3 times.")
    page.get_by_role("button", name="4", exact=True).click()
    expect(item).to_have_text("Item 3: Privacy")
    assert routes.ratings[2] == {"rating": 4, "comment": "Seen 3 times."}
    expect(page.get_by_role("region", name="Progress")).to_contain_text("2 rated by you, 2 left for you")

    page.keyboard.press("f")
    page.get_by_label("Why").fill("It is cut off.")
    page.get_by_role("button", name="Give it back").click()
    expect(item).to_have_text("Item 4: Privacy")
    assert routes.flags == {3: "It is cut off."}
    page.keyboard.press("5")
    expect(page.get_by_role("main").get_by_text("Nothing is left for you")).to_be_visible()
    faults += root.faults()

    page.get_by_role("button", name="Close…").click()
    expect(page.get_by_role("dialog")).to_contain_text("9 of 12 ratings are still missing")
    page.get_by_role("button", name="Close the review").click()
    expect(page.get_by_role("region", name="Results")).to_contain_text("0.71 [0.52, 0.86] (n = 12)")
    faults += root.faults()
    page.emulate_media(color_scheme="dark")
    faults += root.faults("color-contrast")
    assert not faults, "\n".join(faults)


def test_new_review_says_what_is_frozen_and_sends_one_key(person: Opens) -> None:
    routes = ReviewRoutes(["One."])
    root = person("root")
    routes.serve(root.page)
    page = root.open("/reviews?run=r-20261126-k3m9qx", "Reviews")
    keys: list[str] = []
    page.on("request", lambda one: keys.append(one.headers.get("idempotency-key", "")))
    page.get_by_role("button", name="New review…").click()
    expect(page.get_by_label("Run")).to_have_value("r-20261126-k3m9qx")
    page.get_by_label("Reviewers an item").fill("2")
    page.get_by_role("button", name="Freeze the items and begin").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    [(_, body)] = routes.bodies
    assert body == {
        "run_id": "r-20261126-k3m9qx",
        "threshold": 0.5,
        "items_per_topic": 5,
        "reviewers_per_item": 2,
        "closing": "manual",
    }
    assert len([key for key in keys if key]) == 1


def test_whoever_may_only_rate_sees_reviews_alone_and_asks_for_nothing_else(person: Opens) -> None:
    routes = ReviewRoutes(["One.", "Two."])
    rater = person("guest")
    page = rater.page
    routes.serve(page)
    page.route("**/v1/caller", lambda route: route.fulfill(json={"name": "key:rater", "scopes": ["review"]}))
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    rater.open("/runs", "Reviews")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Reviews"])
    page.get_by_role("link", name="Texts of the live study").click()
    expect(page.get_by_role("heading", level=3)).to_have_text("Item 1: Privacy")
    page.keyboard.press("3")
    expect(page.get_by_role("heading", level=3)).to_have_text("Item 2: Privacy")
    page.keyboard.press("9")
    expect(page.get_by_role("main").get_by_text("Nothing is left for you")).to_be_visible()
    assert [body["rating"] for body in routes.ratings.values()] == [3, 9]
    expect(page.get_by_role("button", name="Close…")).to_have_attribute("aria-disabled", "true")
    called = [url for url in asked if "/v1/" in url or "openapi" in url]
    assert all("/v1/caller" in url or "/v1/reviews" in url for url in called), called


def test_review_of_a_finished_run_is_rated_by_another_person_and_closed(
    person: Opens, site: Website, finished_run: str
) -> None:
    with site.client("root") as client:
        made = client.post("/v1/api-keys", json={"name": "rater", "scopes": ["review"]}).json()
    site.keys["rater"] = made["secret"]
    root = person("root")
    page = root.open(f"/reviews?run={finished_run}", "Reviews")
    page.get_by_role("button", name="New review…").click()
    page.get_by_label("Least cosine similarity").fill("-1")
    page.get_by_label("Items of each topic and arm").fill("1")
    page.get_by_label("Reviewers an item").fill("1")
    page.get_by_role("button", name="Freeze the items and begin").click()
    expect(page.locator("#notice")).to_contain_text("has begun")
    address = page.get_by_role("link", name="test-study").get_attribute("href") or ""

    rater = person("rater")
    shown = rater.open("/", "Reviews")
    expect(shown.get_by_role("navigation").get_by_role("link")).to_have_text(["Reviews"])
    shown.get_by_role("link", name="test-study").click()
    # Two topics, the untuned and the tuned model: one item of each.
    for count in range(4):
        expect(shown.get_by_role("region", name="Progress")).to_contain_text(f"{count} rated by you")
        shown.locator(".text").first.wait_for()
        shown.keyboard.press(str(count + 3))
    expect(shown.get_by_role("main").get_by_text("Nothing is left for you")).to_be_visible()
    shown.keyboard.press("u")
    shown.locator(".text").first.wait_for()
    shown.keyboard.press("9")
    expect(shown.get_by_role("main").get_by_text("Nothing is left for you")).to_be_visible()

    root.open(address.removeprefix("#"))
    page.get_by_role("button", name="Close…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Every rating that was wanted is there.")
    page.get_by_role("button", name="Close the review").click()
    expect(page.locator("#notice")).to_contain_text(re.compile("revision 2 of the report, verdict"))
    results = page.get_by_role("region", name="Results")
    expect(results).to_contain_text("Krippendorff's alpha")
    expect(results).to_contain_text("Spearman")
    root.settle()
    assert root.faults() == []
