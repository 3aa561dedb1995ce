"""A real server with a trained model, and a real Chromium to open its page."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import ROOT

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
class Served:
    """A running server.

    Attributes:
        url: Where it listens, without a slash at the end.
        bundle: What it serves.
        process: The server.
    """

    url: str
    bundle: Path
    process: subprocess.Popen[str]

    def predict(self, image: bytes) -> dict:
        """Return what the API answers for an image file."""
        response = httpx.post(f"{self.url}/predict/digits", content=image)
        assert response.status_code == 200, response.text
        return dict(response.json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page that is open in the browser, with every address it asked for."""

    page: Page
    addresses: list[str] = field(default_factory=list)

    def foreign(self) -> list[str]:
        """Return the addresses that are not this machine's."""
        return [url for url in self.addresses if urlsplit(url).hostname not in {"127.0.0.1", None}]


def start_server(bundle: Path) -> Served:
    """Start ``python -m serve`` on a free port and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serve", str(bundle), "--port", "0", "--provider", "cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if line.startswith("ready in"):
            address = re.search(r"page +(http://127\.0\.0\.1:\d+)/", told)
            assert address is not None, told
            return Served(url=address.group(1), bundle=bundle, process=process)
    raise AssertionError(f"the server did not start: {told}")


def stop_server(served: Served) -> int:
    """Ask a server to stop, as a container would, and return its exit status."""
    served.process.send_signal(signal.SIGTERM)
    try:
        return served.process.wait(timeout=20)
    finally:
        served.process.kill()
        served.process.wait()
        assert served.process.stderr is not None
        served.process.stderr.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no Chromium is installed (set CHROMIUM to one), so there is no browser to test with")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(chromium: str, digits_bundle: Path) -> Iterator[Served]:
    served = start_server(digits_bundle)
    yield served
    assert stop_server(served) == 0


def open_page(browser: Browser, served: Served, *, width: int = 1200, height: int = 1000) -> Visit:
    """Open the page in a fresh profile and wait until it can be drawn on."""
    context = browser.new_context(viewport={"width": width, "height": height})
    visit = Visit(page=context.new_page())
    visit.page.on("request", lambda request: visit.addresses.append(request.url))
    visit.page.goto(served.url + "/")
    visit.page.locator(".fx-canvas").wait_for()
    return visit


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    visit = open_page(browser, served)
    yield visit
    visit.page.context.close()
