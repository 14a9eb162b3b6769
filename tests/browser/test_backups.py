"""Backups in a browser: taken and proven; damaged on the disk and found; restored, and undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(1800)]
#: Milliseconds that a job may take on a busy machine.
LONG = 240_000
RETURNING = "Comes back from a copy"


def take(site: Site, page: Page) -> str:
    """Takes a copy of the whole database and waits until it is proven; the name of its file."""
    page.goto(f"{site.url}/backups/")
    page.get_by_role("link", name="Take a backup…").click()
    page.get_by_label("The whole database", exact=True).check()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("section.job .state", has_text="Succeeded")).to_be_visible(timeout=LONG)
    file = page.locator("section.job dt:text-is('file') + dd").inner_text()
    page.goto(f"{site.url}/backups/")
    page.locator("table.copies tbody tr", has_text=file).get_by_role("link").click()
    settled(page, "Proven")
    return file


def settled(page: Page, word: str) -> None:
    """Waits until the verdict of a copy's page begins with that word."""
    state = page.locator(".verdict > .state")
    for _ in range(LONG // 1000):
        if state.inner_text() == word and not page.locator("section.job-running, section.job-queued").count():
            return
        page.wait_for_timeout(1000)
        page.reload()
    expect(state).to_have_text(word)


def flip(file: Path) -> None:
    """One bit in the middle of it."""
    with file.open("r+b") as data:
        data.seek(file.stat().st_size // 2)
        byte = data.read(1)[0]
        data.seek(-1, 1)
        data.write(bytes([byte ^ 1]))


def test_a_copy_is_taken_and_proven_and_found_when_the_disk_spoils_it(site: Site, page: Page) -> None:
    site.log_in(page)
    file = take(site, page)
    expect(page.locator(".checks li").first).to_be_visible()
    expect(page.locator(".checks .state.bad")).to_have_count(0)
    page.screenshot(path="test-results/backup-proven.png", full_page=True)
    address = page.url

    flip(site.layout.data_dir / "backups" / file)
    page.get_by_role("button", name="Prove again").click()
    expect(page.locator("section.job .state", has_text="Failed")).to_be_visible(timeout=LONG)
    page.goto(address)
    settled(page, "Bad")
    expect(page.locator(".checks .state.bad")).to_have_count(1)
    page.screenshot(path="test-results/backup-bad.png", full_page=True)
    page.goto(f"{site.url}/backups/?state=bad")
    expect(page.locator("table.copies tbody tr", has_text=file)).to_contain_text("Bad")


def confirm(site: Site, page: Page, button: str) -> None:
    """Types the database's name, and logs in again once the exchange is over: every session has ended."""
    page.get_by_label("To confirm, type").fill("arc")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name=button).click()
    for _ in range(LONG // 1000):
        page.goto(f"{site.url}/login/")
        if page.get_by_label("Username").count():
            break
        page.wait_for_timeout(1000)
    site.log_in(page)


def agents(site: Site, page: Page) -> str:
    page.goto(f"{site.url}/agents/agent/")
    return page.locator("#main").inner_text()


@pytest.mark.pauses
def test_an_agent_that_was_deleted_returns_and_the_restore_is_undone(site: Site, page: Page) -> None:
    site.manage(
        "shell",
        "-v0",
        "-c",
        f"from agents.models import Agent; Agent.objects.create(name={RETURNING!r}, type='assistant')",
    )
    site.log_in(page)
    take(site, page)
    copy = page.url
    site.manage(
        "shell",
        "-v0",
        "-c",
        f"from agents.models import Agent; Agent.objects.get(name={RETURNING!r}).delete()",
    )
    assert RETURNING not in agents(site, page)

    page.goto(copy)
    page.get_by_role("link", name="Restore…").click()
    page.get_by_role("button", name="Prepare it").click()
    expect(page.get_by_role("button", name="Put it in place")).to_be_visible(timeout=LONG)
    restore = page.url
    expect(page.get_by_text("Agents that come back:")).to_be_visible()
    expect(page.locator("#main")).to_contain_text(RETURNING)
    page.screenshot(path="test-results/restore-waits.png", full_page=True)
    assert RETURNING not in agents(site, page), "live is untouched until somebody confirms"

    page.goto(restore)
    confirm(site, page, "Put it in place")
    page.goto(restore)
    expect(page.get_by_role("button", name="Undo the restore")).to_be_visible(timeout=LONG)
    page.screenshot(path="test-results/restore-done.png", full_page=True)
    assert RETURNING in agents(site, page)

    page.goto(restore)
    confirm(site, page, "Undo the restore")
    page.goto(f"{site.url}/restores/")
    expect(page.locator("#main")).to_contain_text("Undo", timeout=LONG)
    assert RETURNING not in agents(site, page)
