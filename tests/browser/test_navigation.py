"""The navigation folds by group, remembers it, and never hides the page that one is on; the clock goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RESULTS, Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def group(page: Page, name: str) -> Locator:
    return page.locator(f"details[data-fold='{name}']")


def test_groups_fold_and_stay_so(page: Page, site: Site) -> None:
    site.log_in(page)
    redis, safety = group(page, "Redis"), group(page, "Safety")
    expect(redis.get_by_role("link", name="Locks")).to_be_hidden()
    assert redis.get_attribute("open") is None  # long, and not of this page
    assert safety.get_attribute("open") is not None

    redis.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(redis.get_by_role("link", name="Locks")).to_be_visible()
    safety.locator("summary").click()
    expect(safety.get_by_role("link", name="Events")).to_be_hidden()
    page.reload()
    expect(redis.get_by_role("link", name="Locks")).to_be_visible()
    expect(safety.get_by_role("link", name="Events")).to_be_hidden()
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / "navigation-folded.png")

    # The group of the page is open whatever was chosen, and folds again behind it.
    page.goto(f"{site.url}/events/")
    expect(safety.get_by_role("link", name="Events")).to_be_visible()
    expect(safety.locator("a[aria-current]")).to_have_text("Events")
    redis.get_by_role("link", name="Locks").click()
    expect(redis.locator("a[aria-current]")).to_have_text("Locks")
    expect(redis.locator("a[aria-current]")).to_be_in_viewport()
    expect(safety.get_by_role("link", name="Events")).to_be_hidden()

    page.context.clear_cookies(name="arc_folds")
    page.goto(site.url)
    expect(safety.get_by_role("link", name="Events")).to_be_visible()


def test_groups_fold_on_a_phone(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    site.log_in(page)
    page.get_by_role("button", name="Menu").click()
    redis = group(page, "Redis")
    redis.locator("summary").click()
    page.screenshot(path=RESULTS / "navigation-phone.png")
    redis.get_by_role("link", name="Queues").click()
    expect(page).to_have_url(re.compile("/redis/queues/"))
    page.wait_for_load_state()
    page.get_by_role("button", name="Menu").click()
    expect(redis.get_by_role("link", name="Queues")).to_be_visible()


def test_the_clock_goes_on(page: Page, site: Site) -> None:
    page.clock.install()
    site.log_in(page)
    clock = page.locator("[data-clock]")
    before = clock.inner_text()
    assert re.fullmatch(r"\d\d:\d\d UTC", before)
    page.clock.run_for(61_000)
    expect(clock).not_to_have_text(before)
