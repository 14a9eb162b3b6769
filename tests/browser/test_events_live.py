"""The live tail takes in what happens, without a refused style or script."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
#: Milliseconds: the tail asks every three seconds.
SOON = 120_000


def test_a_login_elsewhere_appears_and_waits_while_paused(browser: Browser, page: Page, site: Site) -> None:
    password = site.add_user("tail-watcher", "viewer")
    site.log_in(page)
    page.goto(f"{site.url}/events/live/")
    lines = page.locator("#tail-lines li").filter(has_text="tail-watcher")

    def log_in_elsewhere() -> None:
        other = browser.new_context()
        site.log_in(other.new_page(), "tail-watcher", password)
        other.close()

    before = lines.count()
    log_in_elsewhere()
    expect(lines).to_have_count(before + 1, timeout=SOON)
    page.get_by_role("button", name="Pause").click()
    log_in_elsewhere()
    page.wait_for_timeout(4_000)
    assert lines.count() == before + 1
    page.get_by_role("button", name="Go on").click()
    expect(lines).to_have_count(before + 2, timeout=SOON)
