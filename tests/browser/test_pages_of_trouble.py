"""The pages of a bad day: of 400, 429, 500, 503, of a locked login, and of restores that are under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from arcweb import paused
from arcweb.backups.physical import journal as times
from arcweb.backups.restore import journal as restores
from arcweb.embedded.stack import Stack
from tests.browser.conftest import BACK_WITHIN, SOON, Site, reload_until
from tests.browser.looking import faults_of, listen
from tests.servers.frozen import frozen, whole
from tests.stack import THROWAWAY

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ACTOR = {"kind": "user", "id": "1", "name": "admin"}


@pytest.fixture
def context(browser: Browser, signed_in: Any) -> Iterator[BrowserContext]:
    made = browser.new_context(storage_state=signed_in, viewport={"width": 1280, "height": 900})
    made.set_default_timeout(SOON)
    yield made
    made.close()


@pytest.fixture
def under_way(site: Site) -> Iterator[dict[str, Any]]:
    """Journals of a restore and of one to a chosen time, in the middle, under a lock as of a process."""
    folder = restores.Folder(site.layout.data_dir / "backups")
    dump = restores.Journal.begin(
        "restore",
        live="arc",
        actor=ACTOR,
        backup="00000000-0000-0000-0000-000000000000",
        file="arc-20261101T020000Z.dump",
        taken_at="2026-11-01T02:00:00+00:00",
    )
    dump.state = restores.PREPARING
    begin(dump.step("check"), restores.DONE, "Its checksum is that of the manifest.")
    begin(dump.step("load"), restores.RUNS, done=40, total=100)
    time = times.Journal.begin("2026-11-01T02:00:00+00:00", ACTOR)
    time.state = times.PREPARING
    begin(time.step("log"), restores.DONE, "Everything is in the archive.")
    begin(time.step("choose"), restores.RUNS)
    kept = times.Journals(folder.path.parent)
    with folder.locked("tests"):
        folder.write(dump)
        kept.write(time)
        yield {"dump": dump, "time": time, "backups": folder.path.parent}
        paused.end(folder.path.parent)
        for path in folder.path.iterdir():
            if path.stem in (dump.id, time.id):
                path.unlink()


def begin(step: restores.Step, state: str, sentence: str = "", done: int = 0, total: int = 0) -> None:
    step.state, step.sentence, step.done, step.total = state, sentence, done, total
    step.started_at = restores.now()
    step.finished_at = restores.now() if state == restores.DONE else ""


def shown(page: Page, address: str, status: int, name: str, heading: str) -> None:
    """Opened, with that status and heading, and fit to be shown."""
    faults = listen(page, status)
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == status
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
    faults += faults_of(page, name)
    assert not faults, "\n".join(faults)


def test_a_request_that_cannot_be_understood(context: BrowserContext, site: Site) -> None:
    shown(
        context.new_page(), f"{site.url}/events/?q=a%00b", 400, "bad-request", "This cannot be done as asked"
    )


def test_too_many_searches(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    page = context.new_page()
    site.log_in(page, "many", site.add_user("many", "viewer"))
    with site.connect() as connection:
        [user] = connection.execute("SELECT id FROM auth_user WHERE username = 'many'").fetchone() or [0]
    # As after very many: the time at which the next would be due, which is cut to what the burst allows.
    site.manage("redis_shell", "-c", f"SET arcweb:limit:search:user:{user} 9000000000000000 EX 600")
    shown(page, f"{site.url}/memories/search/?q=a&mode=keyword", 429, "too-many", "Too many at once")
    context.close()


def test_a_fault_of_our_own(context: BrowserContext, site: Site) -> None:
    """A table that is missing for a moment: one that only the history of a user reads."""
    with site.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE django_admin_log RENAME TO away")
        try:
            shown(
                context.new_page(),
                f"{site.url}/auth/user/1/history/",
                500,
                "fault",
                "This is a fault in ARC Web",
            )
        finally:
            connection.execute("ALTER TABLE away RENAME TO django_admin_log")


def test_a_login_that_is_locked(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/login/")
    for _ in range(6):
        page.get_by_label("Username").fill("nobody-of-that-name")
        page.get_by_label("Password").fill("wrong")
        with page.expect_navigation():
            page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("minutes")
    faults = faults_of(page, "locked")
    assert not faults, "\n".join(faults)
    context.close()


def test_postgresql_is_away(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    with frozen(whole(Stack(site.layout, THROWAWAY).postgres.process())):
        page.goto(f"{site.url}/agents/agent/")
        reload_until(page, page.get_by_role("heading", name="PostgreSQL is away"))
        faults = faults_of(page, "away")
    # The next test, too, needs it back.
    expect(page.get_by_role("link", name="ops-guide")).to_be_visible(timeout=BACK_WITHIN)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("address", ["/restores/", "/point-in-time/"])
def test_the_lists_while_restores_are_under_way(
    context: BrowserContext, site: Site, under_way: dict[str, Any], address: str
) -> None:
    heading, page = address.strip("/").replace("-", " ").capitalize(), context.new_page()
    shown(page, site.url + address, 200, f"{address.strip('/')}-busy", heading)
    expect(page.get_by_role("row").filter(has_text="Being prepared")).to_be_visible()


@pytest.mark.parametrize(
    ("kind", "address", "heading"),
    [("dump", "/restores/", "Restore of"), ("time", "/point-in-time/", "Restore to a chosen time")],
)
def test_a_restore_under_way(
    context: BrowserContext, site: Site, under_way: dict[str, Any], kind: str, address: str, heading: str
) -> None:
    page = context.new_page()
    shown(page, f"{site.url}{address}{under_way[kind].id}/", 200, f"restore-{kind}-busy", heading)
    expect(page.get_by_text("Being prepared").first).to_be_visible()
    running = next(step.title for step in under_way[kind].steps if step.state == restores.RUNS)
    expect(page.get_by_role("progressbar", name=running)).to_be_visible()


def test_everybody_waits_while_databases_are_exchanged(
    context: BrowserContext, site: Site, under_way: dict[str, Any]
) -> None:
    backups = under_way["backups"]
    pause = paused.Pause(under_way["dump"].id, restores.now(), "A backup is being put in place.")
    paused.begin(backups, pause)
    page, steps = context.new_page(), restores.Folder(backups)
    shown(page, f"{site.url}/agents/agent/", 503, "paused", "A backup is being put in place")
    # Nobody touches the page: it tells the next step, and comes back.
    begin(under_way["dump"].step("load"), restores.DONE)
    begin(under_way["dump"].step("compare"), restores.RUNS)
    steps.write(under_way["dump"])
    expect(page.get_by_role("listitem").filter(has_text="Compare with the manifest")).to_contain_text(
        "Under way"
    )
    paused.end(backups)
    expect(page.get_by_role("link", name="ops-guide")).to_be_visible()
