"""One person's browser, which remembers whatever went wrong in it."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response, expect

from tests.e2e.web.system import Website

_SEVERE = ("serious", "critical")


class Person:
    """A context with one page of the site. ``name``: whose key lies in the session; "" for nobody's."""

    def __init__(self, context: BrowserContext, site: Website, name: str) -> None:
        self.context = context
        self.site = site
        self.wrong: list[str] = []
        self.allowed_statuses: set[int] = set()
        if name:
            # Not in a report's frame, which has no origin and no storage.
            context.add_init_script(
                "if (origin !== 'null' && !sessionStorage.getItem('valign.key'))"
                f" sessionStorage.setItem('valign.key', {site.keys[name]!r})"
            )
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        self.page.on("request", self._asked)
        self.page.on("dialog", lambda dialog: self.wrong.append(f"a dialog of the browser: {dialog.message}"))

    def open(self, address: str, heading: str | None = None) -> Page:
        """Go to an address (``/runs``), and wait for its heading if one is given, else for the page."""
        self.page.goto(f"{self.site.url}/#{address}")
        self.page.locator("main:not([aria-busy]) h1").first.wait_for()
        if heading is not None:
            self.page.get_by_role("heading", level=1, name=heading).wait_for()
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until no part of the page is being loaded."""
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0, timeout=15_000)

    def faults(self, *rules: str) -> list[str]:
        """Serious and critical faults that axe finds, by all rules or by these; not in frames."""
        options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{self.page.url}: {one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}"
            for one in found
            if one["impact"] in _SEVERE
        ]

    def nothing_went_wrong(self) -> None:
        """AssertionError with all that did."""
        assert not self.wrong, "\n".join(self.wrong)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        # What a refused call looks like in the console; the answer itself is judged below.
        if any(f"status of {status}" in message.text for status in self.allowed_statuses):
            return
        self.wrong.append(f"console: {message.text} {message.location}")

    def _failed(self, request: Request) -> None:
        # Chromium says so of every stream that was read as one, and of calls of a page that was left.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"failed: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.allowed_statuses:
            self.wrong.append(f"{response.status}: {response.request.method} {response.url}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.site.url}/", "blob:", "data:")):
            self.wrong.append(f"a request that leaves the origin: {request.url}")
