"""Webhooks on the page, with the server's own routes and a receiver: made, tried, given up, sent again."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.web.watching import Person
from tests.fakes.receiver import Answer, Receiver
from tests.fakes.servers import http_server_in_thread

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]


def test_webhook_is_made_tried_paused_and_its_dead_letter_sent_again(person: Callable[..., Person]) -> None:
    receiver = Receiver()
    receiver.answers["/hook"] = [Answer(500)]
    root = person("root")
    with http_server_in_thread(receiver) as url:
        page = root.open("/webhooks", "Webhooks")
        page.get_by_role("button", name="New webhook…").click()
        page.get_by_role("textbox", name="Address").fill(f"{url}/hook")
        page.get_by_role("textbox", name="Events").fill("route.rolled_back")
        page.get_by_label("What it is for").fill("A room of the team.")
        page.get_by_role("button", name="Make it").click()
        secret = page.get_by_role("textbox", name="Secret").input_value()
        assert secret.startswith("whsec_")
        page.get_by_role("button", name="I have kept it").click()
        root.settle()
        row = page.get_by_role("row", name=f"{url}/hook")
        expect(row).to_contain_text("route.rolled_back")
        expect(row).to_contain_text("A room of the team.")
        faults = root.faults()
        row.get_by_role("link").click()
        page.get_by_role("heading", level=1, name=f"{url}/hook").wait_for()

        def press(opens: str) -> None:
            page.get_by_role("button", name=f"{opens}…").click()
            page.get_by_role("dialog").get_by_role("button", name=opens, exact=True).click()
            expect(page.get_by_role("dialog")).to_have_count(0)
            root.settle()

        def show() -> None:
            page.reload()
            page.get_by_role("heading", level=1, name=f"{url}/hook").wait_for()
            root.settle()

        def until(state: str) -> None:
            """The page shows what the server knew when it was opened: open it until that has happened."""
            for _ in range(50):
                show()
                if state in page.get_by_role("row", name="webhook.test").inner_text().lower():
                    # The page's parts are asked for one after another: the first may be of before that.
                    return show()
                page.wait_for_timeout(200)
            raise AssertionError(f"the test event is not {state}")

        press("Send a test")
        until("dead")
        row = page.get_by_role("row", name="webhook.test")
        expect(row.get_by_role("cell")).to_have_count(6)
        expect(row).to_contain_text("500")
        faults += root.faults()

        press("Replay dead letters")
        until("delivered")
        first, again = receiver.of("/hook")
        assert first.event["id"] == again.event["id"]
        assert again.signed_by(secret)
        expect(page.get_by_role("button", name="Replay dead letters…")).to_have_attribute(
            "aria-disabled", "true"
        )

        press("Pause")
        expect(page.get_by_role("main").locator(".head .badge")).to_contain_text("paused")
        press("Make active")
        expect(page.get_by_role("main").locator(".head .badge")).to_contain_text("active")
        page.get_by_label("State").select_option("dead")
        expect(page.get_by_role("main")).to_contain_text("No delivery.")
        root.settle()
        faults += root.faults()
    assert not faults, "\n".join(faults)
