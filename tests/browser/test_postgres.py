"""The PostgreSQL rooms in a browser: a blocker is ended, and who waited goes on."""

from __future__ import annotations

import threading

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def session(site: Site, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(site.layout.socket_dir),
        dbname="arc",
        user="arc",
        password=site.layout.read_secret("postgres-password"),
        application_name=name,
    )


def test_the_blocker_is_ended_and_who_waited_goes_on(site: Site, page: Page) -> None:
    holder, waiter = session(site, "the-holder"), session(site, "the-waiter")
    change = "UPDATE agents.agents SET updated_at = updated_at"
    site.log_in(page)
    page.goto(f"{site.url}/postgres/locks/")
    expect(page.locator("#verdict")).to_contain_text("Nobody waits")
    holder.execute(change)
    waiting = threading.Thread(target=waiter.execute, args=(change,))
    waiting.start()
    try:
        # It refreshes itself, and can be paused.
        tree = page.locator(".tree", has_text="the-holder")
        expect(tree).to_contain_text("the-waiter", timeout=20_000)
        expect(page.locator("#verdict")).to_contain_text("the-holder")
        page.get_by_role("button", name="Pause").click()
        pid = holder.info.backend_pid
        page.get_by_role("button", name=f"Cancel what session {pid} runs").click()
        expect(page.get_by_text("there was nothing to cancel")).to_be_visible()
        page.get_by_role("link", name=f"End session {pid}").click()
        page.get_by_label("To confirm").fill(str(pid))
        page.get_by_role("button", name="End this session").click()
        expect(page.get_by_text("was told to stop, and has ended")).to_be_visible()
        waiting.join(10)
        assert not waiting.is_alive(), "it goes on"
        expect(page.locator("#verdict")).to_contain_text("Nobody waits")
        page.screenshot(path="test-results/postgres-locks-after.png", full_page=True)
    finally:
        holder.close()
        waiting.join(10)
        waiter.close()
