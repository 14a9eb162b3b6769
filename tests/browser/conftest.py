"""The whole system as `make run` starts it, and a Chromium in front of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from redis import Redis

from arcweb.embedded.layout import Layout
from tests.browser.chromium import ensure_chromium
from tests.running import PATIENCE, ROOT, Running, free_port, kill_all
from tests.stack import CLEARED, delete_data, new_layout
from tests.waiting import until

#: Pictures of every page that a test opens, and a trace of a test that failed.
RESULTS = Path(__file__).resolve().parents[2] / "test-results"
#: Milliseconds that a busy machine may take for anything; five seconds are Playwright's own.
SOON = 60_000
#: Milliseconds until a server that was away is seen to be back, by a page that asks by itself.
BACK_WITHIN = 120_000
HERE = Path(__file__).parent
#: Of the site: what is slow is waited for.
UNHURRIED = {
    "ARC_REDIS_TIMEOUT": "4",
    "ARC_QUERY_DEADLINE": "30",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a run starts the whole system, and waits for its demo."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1200))


@dataclass(frozen=True)
class Site:
    """A running ARC Web, with the demo's agents."""

    url: str
    password: str
    layout: Layout

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the site's database, as the application's role."""
        return psycopg.connect(
            host=str(self.layout.socket_dir),
            dbname="arc",
            user="arc",
            password=self.layout.read_secret("postgres-password"),
            **options,
        )

    def redis(self, role: str) -> Redis:
        """A client of the site's server of that role, which is none of its own."""
        return Redis.from_url(self.layout.redis_url(role), client_name="somebody")  # type: ignore[arg-type]

    def manage(self, *arguments: str) -> str:
        """What manage.py prints against this site's servers."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        env |= {"ARC_ENV_FILE": "", "ARC_DATA_DIR": str(self.layout.data_dir)}
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_user(self, name: str, role: str) -> str:
        """A user of that role; gives the password."""
        password = f"{name}-of-the-{role}s-2026"
        self.manage(
            "shell",
            "-v0",
            "-c",
            "from django.contrib.auth.models import Group, User; "
            f"user = User.objects.create_user({name!r}, password={password!r}); "
            f"user.groups.add(Group.objects.get(name={role!r}))",
        )
        return password

    def log_in(self, page: Page, name: str = "admin", password: str = "") -> None:
        page.goto(f"{self.url}/login/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(password or self.password)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        page.wait_for_load_state()  # a key pressed before the scripts are there is nobody's


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    layout, lock = new_layout()
    port = free_port()
    running = Running(layout, port, **UNHURRIED)
    try:
        running.wait_for("ARC Web is ready")
        site = Site(f"http://127.0.0.1:{port}", layout.admin_password_file.read_text().strip(), layout)
        wait_for_demo(site)
        yield site
        running.process.terminate()
        assert running.exit_code() == 0, running.said
    finally:
        kill_all(layout)
        lock.close()
        delete_data(layout)


def reload_until(page: Page, sign: Locator, there: bool = True) -> None:
    """Loads the page again and again until the sign is on it, or on it no more."""

    def looked() -> bool:
        page.reload()
        return bool(sign.count()) is there

    until(looked, 180, f"{sign} {'' if there else 'no more '}on {page.url}")


def still(page: Page) -> None:
    """Until colours have ended to change, so that axe sees those that stay."""
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        ".then(() => Promise.allSettled(document.getAnimations().map(one => one.finished))).then(() => null)"
    )


def wait_for_demo(site: Site) -> None:
    """Until the demo's documents are embedded, so that pages stand still."""
    end = time.monotonic() + 2 * PATIENCE
    # Asked by a connection of its own: a process of Django's each time would take the demo's processor.
    with site.connect(autocommit=True) as connection:
        while True:
            found = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE state = 'succeeded') FROM jobs_job"
            ).fetchone()
            assert found is not None
            total, done = found
            if 0 < total == done:
                return
            assert time.monotonic() < end, f"the demo's jobs did not end: {done} of {total}"
            time.sleep(0.5)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=SOON)
    # Playwright keeps an event loop in this thread, which Django takes for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
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
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site) -> Any:
    """The cookies of admin; of each file its own, since a test may end all sessions."""
    context = browser.new_context()
    site.log_in(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a fresh browser profile; the test fails on a script error or a refused (CSP) resource."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SOON)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    pauses = request.node.get_closest_marker("pauses") is not None

    def hear(message: ConsoleMessage) -> None:
        # The browser and htmx say it, each in words of its own.
        paused = pauses and re.search(r"(status of|Status Error Code) 503", message.text)
        if message.type == "error" and not paused:
            wrong.append(f"{page.url}: {message.text}")

    page.on("console", hear)
    yield page
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / f"{request.node.name}-end.png", full_page=True)
    context.close()
    assert not wrong, wrong
