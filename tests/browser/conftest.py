"""A real server with a trained model, and a real Chromium to open its page."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.serving import Served, serving

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page that is open in the browser, with every address it asked for."""

    page: Page
    addresses: list[str] = field(default_factory=list)

    def foreign(self) -> list[str]:
        """Return the addresses that are not this machine's."""
        return [url for url in self.addresses if urlsplit(url).hostname not in {"127.0.0.1", None}]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
        found = own if Path(own).exists() else None
    if found is None:
        message = "no Chromium is installed (set CHROMIUM to one), so there is no browser to test with"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return found


@pytest.fixture(scope="module")  # while Playwright runs, its event loop does, and asyncio.run() fails elsewhere
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(chromium: str, digits_bundle: Path) -> Iterator[Served]:
    with serving(str(digits_bundle), "--provider", "cpu") as served:
        yield served


def predict(served: Served, image: bytes) -> dict:
    """Return what the API answers for an image file."""
    response = httpx.post(f"{served.url}/predict/digits", content=image)
    assert response.status_code == 200, response.text
    return dict(response.json())


def open_page(
    browser: Browser,
    served: Served,
    *,
    width: int = 1200,
    height: int = 1000,
    color_scheme: Literal["light", "dark"] = "light",
) -> Visit:
    """Open the page in a fresh profile and wait until it can be drawn on."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=color_scheme)
    visit = Visit(page=context.new_page())
    visit.page.on("request", lambda request: visit.addresses.append(request.url))
    visit.page.goto(served.url + "/")
    visit.page.locator(".fx-canvas").wait_for()
    # the last thing that the canvas's own code does is to paint it black: before that, strokes are lost
    opaque = "document.querySelector('.fx-canvas').getContext('2d').getImageData(0, 0, 1, 1).data[3] === 255"
    visit.page.wait_for_function(opaque)
    return visit


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    visit = open_page(browser, served)
    yield visit
    visit.page.context.close()
