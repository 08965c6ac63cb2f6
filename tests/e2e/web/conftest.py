"""A real headless Chromium, and the web page of a real orchestrator in it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.web.system import Website, website
from tests.e2e.web.watching import Person

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "docs" / "images"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here; `make tools` installs it (apt-get install chromium)")
    return found


# A module at most: while it lives, playwright has an event loop in this thread, and no test another.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for a module's tests."""
    with sync_playwright() as playwright:
        # Tests may run as root, for whom Chromium has no sandbox of its own.
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """The page's server, which asks for keys, with nothing in it yet but what tests put there."""
    with website(tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture(scope="session")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """One that asks nobody for a key."""
    with website(tmp_path_factory.mktemp("open"), auth="off") as found:
        yield found


@pytest.fixture(scope="session")
def finished_run(site: Website) -> str:
    """Id of a run by ann whose adapter the gate has let through, and which asks for approval."""
    return site.finish("ann", site.begin("ann"))["run_id"]


@pytest.fixture
def person(browser: Browser, site: Website) -> Iterator[Callable[..., Person]]:
    """Opens a browser of its own for a person; what went wrong in any of them fails the test at its end."""
    opened: list[Person] = []

    def opens(name: str = "", at: Website = site) -> Person:
        known = Person(browser.new_context(viewport={"width": 1280, "height": 800}), at, name)
        opened.append(known)
        return known

    yield opens
    for one in opened:
        one.context.close()
    for one in opened:
        one.nothing_went_wrong()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Writes a picture of what a page shows to docs/images, if that was asked for."""

    def take(page: Page, name: str) -> None:
        if request.config.getoption("--screenshots"):
            page.evaluate("document.activeElement?.blur()")
            page.screenshot(path=IMAGES / f"web-{name}.png")

    return take
