"""What people do in the control room, on good days and bad ones. By keyboard where a keyboard does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from arcweb.embedded.stack import Stack
from tests.browser.conftest import BACK_WITHIN, RESULTS, SOON, Site, reload_until
from tests.servers.frozen import frozen, whole
from tests.stack import THROWAWAY
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def profile(browser: Browser) -> Iterator[Any]:
    """A function that gives a page of a browser that knows nobody yet."""
    contexts = []

    def make() -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SOON)
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


def picture(page: Page, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / f"flow-{name}.png")


def test_first_login_by_keyboard(profile: Any, site: Site) -> None:
    page: Page = profile()
    page.goto(f"{site.url}/events/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(site.password)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/events/")
    page.wait_for_load_state()  # a key pressed before is nobody's
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_theme_is_kept(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page)
    page.goto(f"{site.url}/account/")
    page.get_by_role("radio", name="Dark").check()
    page.get_by_role("button", name="Use this theme").press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_load_state()
    page.goto(site.url)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(12, 20, 24)"
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_palette_goes_anywhere_without_a_mouse(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page)
    found = page.locator("#found")
    page.keyboard.press("Control+k")
    expect(found.get_by_role("option", name="Memories Memories")).to_be_visible()
    page.keyboard.type("ops-gui")
    expect(found.get_by_role("option", name="ops-guide").first).to_be_visible()
    picture(page, "palette")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("ops-guide")
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    page.keyboard.type("agents")
    expect(found.get_by_role("option")).not_to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(found.locator("[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(found.get_by_role("option")).to_have_count(0)


def test_the_palette_goes_nowhere_by_an_older_answer(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page)
    page.keyboard.press("Control+k")
    page.keyboard.type("ops-gui")
    expect(page.locator("#found").get_by_role("option", name="ops-guide").first).to_be_visible(
        timeout=BACK_WITHIN
    )
    page.locator("#find").select_text()
    page.keyboard.type("memories documents")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Documents", timeout=BACK_WITHIN)
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    page.keyboard.type("qqqqzz")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Go to", timeout=BACK_WITHIN)


def test_a_job_is_cancelled_and_tried_again(profile: Any, site: Site, tmp_path: Path) -> None:
    page: Page = profile()
    site.log_in(page)
    long = tmp_path / "everything.txt"
    long.write_text("\n\n".join(topics.values()) * 2)
    page.goto(f"{site.url}/agents/agent/?q=night-watch")
    page.get_by_role("link", name="night-watch").first.click()
    page.wait_for_url(re.compile(r"/change/"))
    agent = re.search(r"/agent/([0-9a-f-]{36})/", page.url)
    assert agent is not None
    page.goto(f"{site.url}/memories/ingest/?agent={agent[1]}")
    page.locator("input[type=file]").set_input_files(long)
    page.get_by_role("button", name="Ingest", exact=True).click()
    job = page.locator("section.job")
    expect(job.locator("progress")).to_be_visible()
    # Not by a click: the line is another every second.
    page.goto(site.url + str(job.get_by_role("link").first.get_attribute("href")))
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(page.locator("section.job-cancelled")).to_be_visible(timeout=BACK_WITHIN)
    picture(page, "job-cancelled")
    page.get_by_role("button", name="Retry").press("Enter")
    expect(page.locator("section.job-running, section.job-queued")).to_be_visible()
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(page.locator("section.job-cancelled")).to_be_visible(timeout=BACK_WITHIN)


def test_a_session_is_revoked_from_a_second_browser(profile: Any, site: Site) -> None:
    here: Page = profile()
    there: Page = profile()
    password = site.add_user("ines", "operator")
    site.log_in(here, "ines", password)
    site.log_in(there, "ines", password)
    here.goto(f"{site.url}/account/")
    expect(here.get_by_text("1 more time")).to_be_visible()
    here.get_by_role("button", name="Revoke the other one").press("Enter")
    expect(here.get_by_text("You are logged in nowhere else")).to_be_visible()
    there.goto(f"{site.url}/agents/agent/")
    expect(there).to_have_url(re.compile(r"/login/\?.*ended=revoked"))
    expect(there.get_by_text("This session was revoked")).to_be_visible()
    picture(there, "session-revoked")
    here.reload()
    expect(here.get_by_role("button", name="Log out")).to_be_visible()


def test_a_viewer_sees_and_cannot_touch(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page, "vera", site.add_user("vera", "viewer"))
    rooms = page.get_by_role("navigation", name="Rooms")
    expect(rooms.get_by_role("link", name="Memories", exact=True)).to_be_visible()
    for hidden in ("Ingest", "Sessions", "Users"):
        expect(rooms.get_by_role("link", name=hidden, exact=True)).to_have_count(0)
    page.goto(f"{site.url}/agents/agent/")
    expect(page.get_by_role("link", name="ops-guide")).to_be_visible()
    expect(page.get_by_role("link", name="Add agent")).to_have_count(0)
    page.goto(f"{site.url}/agents/agent/add/")
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    picture(page, "refused")
    admin: Page = profile()
    site.log_in(admin)
    admin.goto(f"{site.url}/events/?kind=access.refused")
    expect(admin.locator("#content").get_by_text("vera").first).to_be_visible()


def test_the_loss_of_redis_logs_nobody_out(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page)
    cache = next(server for server in Stack(site.layout, THROWAWAY).servers if "cache" in server.name)
    killed = cache.process()
    assert killed is not None
    killed.kill()
    page.goto(f"{site.url}/agents/agent/")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()

    def is_back() -> bool:
        process = cache.process()
        return process is not None and process.pid != killed.pid

    until(is_back, 120)
    with frozen(whole(cache.process())):
        page.goto(f"{site.url}/agents/agent/")
        reload_until(page, page.locator(".banner", has_text="Redis (cache role)"))
        expect(page.get_by_role("link", name="ops-guide")).to_be_visible()
        picture(page, "redis-frozen")
    reload_until(page, page.locator(".banner"), there=False)


def test_a_frozen_postgresql_is_told_and_the_page_comes_back(profile: Any, site: Site) -> None:
    page: Page = profile()
    site.log_in(page)
    postgres = Stack(site.layout, THROWAWAY).postgres
    with frozen(whole(postgres.process())):
        page.goto(f"{site.url}/agents/agent/")
        expect(page.get_by_role("heading", level=1)).to_contain_text("PostgreSQL")
        reload_until(page, page.get_by_role("heading", name="PostgreSQL is away"))
        expect(page.get_by_text("You stay logged in")).to_be_visible()
        picture(page, "postgres-frozen")
    # Nobody touches the page: it looks for itself.
    expect(page.get_by_role("link", name="ops-guide")).to_be_visible(timeout=BACK_WITHIN)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
