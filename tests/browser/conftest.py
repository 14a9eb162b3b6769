"""The whole system as `make run` starts it, and a Chromium in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import ensure_chromium
from tests.running import Running, free_port, kill_all
from tests.stack import delete_data, new_layout

#: Pictures of every page that a test opens, and a trace of a test that failed.
RESULTS = Path(__file__).resolve().parents[2] / "test-results"


@dataclass(frozen=True)
class Site:
    """A running ARC Web."""

    url: str
    password: str


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    layout, lock = new_layout()
    port = free_port()
    running = Running(layout, port)
    try:
        running.wait_for("ARC Web is ready")
        yield Site(f"http://127.0.0.1:{port}", layout.admin_password_file.read_text().strip())
        running.process.terminate()
        assert running.exit_code() == 0, running.said
    finally:
        kill_all(layout)
        lock.close()
        delete_data(layout)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=ensure_chromium(),
            args=[
                "--no-sandbox",  # root, and containers without user namespaces
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a fresh browser profile; the test fails on a script error or a refused (CSP) resource."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: wrong.append(f"{page.url}: {message.text}") if message.type == "error" else None,
    )
    yield page
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / f"{request.node.name}-end.png", full_page=True)
    context.close()
    assert not wrong, wrong
