"""The PostgreSQL rooms in a browser: a blocker is ended, who waited goes on; a setting is set, and holds."""

from __future__ import annotations

import threading

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, reload_until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def session(site: Site, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return site.connect(application_name=name)


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
        expect(tree).to_contain_text("the-waiter")
        expect(page.locator("#verdict")).to_contain_text("the-holder")
        page.get_by_role("button", name="Pause").click()
        pid = holder.info.backend_pid
        page.get_by_role("button", name=f"Cancel what session {pid} runs").click()
        expect(page.get_by_text("there was nothing to cancel")).to_be_visible()
        page.get_by_role("link", name=f"End session {pid}").click()
        page.get_by_label("To confirm").fill(str(pid))
        page.get_by_role("button", name="End this session").click()
        expect(page.get_by_text("was told to stop, and has ended")).to_be_visible()
        waiting.join(120)
        assert not waiting.is_alive(), "it goes on"
        expect(page.locator("#verdict")).to_contain_text("Nobody waits")
        page.screenshot(path="test-results/postgres-locks-after.png", full_page=True)
    finally:
        holder.close()
        waiting.join(120)
        waiter.close()


def in_a_new_session(site: Site, name: str) -> str:
    with session(site, "the-setting") as new:
        row = new.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])


def test_a_setting_is_applied_and_holds(site: Site, page: Page) -> None:
    before = in_a_new_session(site, "work_mem")
    wanted = "9MB"
    assert before != wanted
    site.log_in(page)
    page.goto(f"{site.url}/postgres/tuning/")
    line = page.locator("#work_mem")
    expect(line.locator("td").first).to_contain_text(before)
    try:
        line.get_by_role("link", name="Change work_mem").click()
        page.get_by_label("New value").fill(wanted)
        page.get_by_role("button", name="Look at the difference").click()
        expect(page.locator("del")).to_have_text(before)
        expect(page.locator("ins")).to_have_text(wanted)
        expect(page.get_by_text(f"ALTER SYSTEM SET work_mem = '{wanted}';")).to_be_visible()
        expect(page.get_by_label("Reload the files now")).to_be_checked()
        page.get_by_label("To confirm").fill("work_mem")
        page.get_by_role("button", name="Set work_mem").click()
        told = f"work_mem is {wanted} now, for every new session and statement."
        expect(page.get_by_text(told)).to_be_visible()
        # A session that is open already, as that of the page, may hear of it later.
        reload_until(page, line.locator("td").first.filter(has_text=wanted).filter(has_text="ALTER SYSTEM"))
        assert in_a_new_session(site, "work_mem") == wanted
        page.screenshot(path="test-results/postgres-setting-holds.png", full_page=True)
        # And back.
        line.get_by_role("link", name="Change work_mem").click()
        page.get_by_role("button", name="Take out what ALTER SYSTEM set").click()
        page.get_by_label("To confirm").fill("work_mem")
        page.get_by_role("button", name="Reset work_mem").click()
        expect(page.get_by_text(f"work_mem is {before} again, from:")).to_be_visible()
        assert in_a_new_session(site, "work_mem") == before
    finally:
        if in_a_new_session(site, "work_mem") != before:
            put_back(site, "work_mem")


def put_back(site: Site, name: str) -> None:
    """For whoever looks at the same site next, when a test stopped half way."""
    with session(site, "the-setting") as new:
        new.autocommit = True
        new.execute(f"ALTER SYSTEM RESET {name}")
        new.execute("SELECT pg_reload_conf()")
