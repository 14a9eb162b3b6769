"""What a newcomer does first: log in, make an agent, ingest, watch, search, log out."""

from __future__ import annotations

import re
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RESULTS, Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def picture(page: Page, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    page.evaluate("scrollTo(0, 0)")  # the navigation has scrolled its own entry into view
    page.screenshot(path=RESULTS / f"{name}.png")


def choose_agent(page: Page, name: str) -> None:
    """By keyboard, as the autocomplete field wants it."""
    page.locator(".select2-selection").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".select2-search__field")).to_be_focused()
    page.keyboard.type(name)
    expect(page.locator(".select2-results__option")).to_have_text([name])
    page.keyboard.press("Enter")


def test_from_login_to_search(page: Page, site: Site, tmp_path: Path) -> None:
    page.goto(site.url)
    expect(page).to_have_url(re.compile("/login/"))
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Please enter a correct username and password")).to_be_visible()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(site.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Ingest", exact=True)).to_be_visible()
    picture(page, "overview")

    page.goto(f"{site.url}/agents/agent/add/")
    page.get_by_label("Name").fill("pythonist")
    page.get_by_label("Type").fill("assistant")
    page.get_by_label("Config").fill('{"model": "any"')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This is not JSON")).to_be_visible()
    page.get_by_label("Config").fill('{"model": "any"}')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    picture(page, "agents")

    topic = tmp_path / "try.txt"
    topic.write_text(topics["try"])
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9")
    page.goto(f"{site.url}/memories/ingest/")
    choose_agent(page, "pythonist")
    page.get_by_label("Documents").set_input_files([topic, tmp_path / "broken.txt"])
    page.get_by_role("button", name="Ingest").click()
    expect(page.get_by_text("1 of 2 is stored;")).to_be_visible()
    expect(page.get_by_text("is not valid UTF-8")).to_be_visible()
    progress = page.locator("section.job")
    expect(progress).to_have_count(1)
    picture(page, "ingest")
    expect(page.locator("section.job-succeeded")).to_be_visible(timeout=240_000)
    expect(page.locator("section.job")).not_to_have_attribute("hx-get", re.compile(".*"))
    expect(page.get_by_text(re.compile(r"(\d+) of \1 chunks?"))).to_be_visible()

    page.goto(f"{site.url}/memories/search/")
    page.get_by_label("Search for").fill("how do I catch an error")
    choose_agent(page, "pythonist")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#verdict")).to_contain_text(re.compile(r"10 results in .* ms"))
    expect(page.locator("#results tbody tr").first).to_contain_text("try.txt")
    expect(page.locator("#results tbody tr").first).to_contain_text(re.compile(r"0\.\d{3}"))
    expect(page).to_have_url(re.compile(r"q=how\+do\+I\+catch\+an\+error"))
    picture(page, "search")

    page.goto(f"{site.url}/events/")
    for words in ("failed", "logged in", "pythonist", "try.txt"):
        expect(page.locator("#content")).to_contain_text(words)
    picture(page, "events")

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    page.wait_for_load_state()
    page.goto(f"{site.url}/memories/search/")
    expect(page).to_have_url(re.compile("/login/"))
