"""The overview of a Redis server in a browser: what was sampled is drawn, and said to who cannot see it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RESULTS, Site
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_charts_draw_what_was_sampled_and_say_it(page: Page, site: Site) -> None:
    site.log_in(page)
    page.goto(f"{site.url}/redis/?role=cache")
    charts = page.locator(".courses")
    memory = charts.get_by_role("img", name=re.compile(r"^Memory \d.*[kM]B now"))

    def drawn() -> bool:
        page.reload()
        courses = [str(line.get_attribute("d")) for line in memory.locator("path.line").all()]
        return any(len(re.findall(r"-?\d+(?:\.\d+)?[ ,]-?\d+(?:\.\d+)?", one)) >= 2 for one in courses)

    until(drawn, 240, "a course of two samples")  # the first of a new stack take half a minute
    for number in range(charts.get_by_role("img").count()):
        expect(charts.get_by_role("img").nth(number)).to_have_accessible_name(re.compile(r"\d"))
    periods = page.get_by_role("navigation", name="Period of the charts").get_by_role("link")
    periods.last.press("Enter")
    expect(periods.last).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(re.compile("period="))
    expect(memory).to_be_visible()
    page.screenshot(path=RESULTS / "redis-overview-charts.png", full_page=True)
