"""A lease of MONITOR in a browser: it shows what others send, hides credentials, and ends by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from redis import Redis

from cache_admin.traffic import clients
from tests.browser.conftest import RESULTS, Site, reload_until
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def watching(server: Redis) -> list[clients.Client]:
    return [each for each in clients.listed(server) if each.name == "arcweb-monitor"]


def named(server: Redis, name: str) -> list[dict[str, str]]:
    return [each for each in server.client_list() if each["name"] == name]


def test_a_monitor_lease_shows_masks_and_ends_by_itself(page: Page, site: Site) -> None:
    site.log_in(page)
    page.locator("details[data-fold='Redis'] > summary").click()
    page.get_by_role("link", name="Live", exact=True).click()
    expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
    expect(page.get_by_text("about halves its throughput")).to_be_visible()
    page.get_by_label("For", exact=True).select_option("20")
    page.get_by_role("button", name="Watch the commands").click()
    expect(page.locator("#lease")).to_contain_text("Watching")
    with site.redis("cache") as server:
        until(lambda: len(watching(server)) == 1)
        server.set("greeting:<i>all</i>", "hello there", ex=60)
        server.set("session:abc123def456", '{"user_id": 123}', ex=60)
        lines = page.locator("#lines li")
        expect(lines.filter(has_text="SET greeting:<i>all</i> hello there EX 60")).to_have_count(1)
        expect(lines.filter(has_text="SET session:abc1…")).to_have_count(1)
        page.screenshot(path=RESULTS / "redis-live-watching.png", full_page=True)
        expect(page.locator("#lease")).to_contain_text("Its 20 s are over.", timeout=120_000)
        assert "23def456" not in page.content()
        assert "user_id" not in page.content()
        until(lambda: watching(server) == [])
    expect(page.get_by_role("button", name="Stop now")).to_have_count(0)
    expect(page.locator("#lease[hx-get]")).to_have_count(0)
    expect(page.locator("#verdict")).to_contain_text("What came stays below")
    page.screenshot(path=RESULTS / "redis-live-ended.png", full_page=True)


def test_it_ends_when_the_browser_goes_away(page: Page, site: Site) -> None:
    site.log_in(page)
    page.goto(f"{site.url}/redis/live/")
    page.get_by_label("For", exact=True).select_option("30")
    page.get_by_role("button", name="Watch the commands").click()
    expect(page.locator("#lease")).to_contain_text("Watching")
    page.goto(f"{site.url}/redis/clients/?kind=watching")
    expect(page.get_by_text("a lease of MONITOR of the page Live")).to_be_visible()
    reload_until(page, page.get_by_text("No client is like that."))


def test_messages_come_and_one_stops_listening(page: Page, site: Site) -> None:
    site.log_in(page)
    page.goto(f"{site.url}/redis/live/?role=state")
    page.get_by_label("Pattern").fill("town:*")
    page.get_by_role("button", name="Listen").click()
    expect(page.locator("#lease")).to_contain_text("Watching")
    with site.redis("state") as server:
        until(lambda: any(each["psub"] == "1" for each in named(server, "arcweb-channels")))
        assert server.publish("town:square", "hear ye") == 1
    expect(page.locator("#lines li").filter(has_text=re.compile("town:square.*hear ye"))).to_have_count(1)
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator("#lease")).to_contain_text("It was stopped.")
