"""Every page in both themes and three widths: pictures, no script error, nothing sideways, axe, weight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.browser.conftest import RESULTS, SOON, Site, still

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

#: Bytes over the wire of a page opened for the first time, with everything it loads by itself.
HEAVIEST = 150_000
#: name: its address, or the list whose first row leads to it.
PLAIN = {
    "login": "/login/",
    "overview": "/",
    "agents": "/agents/agent/",
    "agent-add": "/agents/agent/add/",
    "search": "/memories/search/",
    "search-results": "/memories/search/?q=how+do+I+restore+a+backup",
    "search-nothing": "/memories/search/?q=zzzz&mode=keyword",
    "ingest": "/memories/ingest/",
    "memories": "/memories/memory/",
    "memories-none": "/memories/memory/?embedding_state__exact=failed",
    "documents": "/memories/document/",
    "jobs": "/jobs/job/",
    "restores": "/restores/",
    "point-in-time": "/point-in-time/",
    "erasures": "/erasures/",
    "alerts": "/alerts/",
    "alert": "/alerts/servers.worker/",
    "events": "/events/",
    "events-live": "/events/live/",
    "sessions": "/sessions/",
    "account": "/account/",
    "password": "/password_change/",
    "users": "/auth/user/",
    "user-add": "/auth/user/add/",
    "groups": "/auth/group/",
    "group-add": "/auth/group/add/",
    "find": "/find/?q=a",
    "redis": "/redis/",
    "redis-state": "/redis/?role=state&period=fortnight",
    "redis-eviction": "/redis/eviction/?role=state",
    "redis-config": "/redis/config/",
    "redis-config-change": "/redis/config/change/?name=maxmemory-policy",
    "redis-config-rewrite": "/redis/config/rewrite/",
    "redis-save": "/redis/save/?command=SAVE",
    "redis-flush": "/redis/flush/?role=cache",
    "redis-sessions": "/redis/sessions/",
    "redis-locks": "/redis/locks/",
    "redis-limits": "/redis/limits/?limit=search&identity=user:1",
    "redis-leaderboards": "/redis/leaderboards/",
    "redis-clients": "/redis/clients/",
    "redis-slow": "/redis/slow/?role=state",
    "redis-live": "/redis/live/",
    "redis-queues": "/redis/queues/",
    "redis-keys": "/redis/keys/",
    "redis-keys-state": "/redis/keys/?role=state",
    "redis-bigkeys": "/redis/bigkeys/",
    "partitions": "/postgres/partitions/",
    "partitions-retention": "/postgres/partitions/retention/?keep=12&archive=on",
    "redis-delete-keys": "/redis/keys/delete/",
    "postgres-tables": "/postgres/tables/",
    "postgres-table": "/postgres/tables/agents/memories/",
    "postgres-indexes": "/postgres/indexes/",
    "postgres-index-drop": "/postgres/indexes/agents/memories_5Fpkey/drop/",
    "postgres": "/postgres/",
    "postgres-fortnight": "/postgres/?period=fortnight",
    "postgres-activity": "/postgres/activity/?kind=all",
    "postgres-locks": "/postgres/locks/",
    "postgres-replication": "/postgres/replication/",
    "postgres-safety": "/postgres/safety/",
    "postgres-tuning": "/postgres/tuning/",
    "postgres-tuning-change": "/postgres/tuning/work_mem/",
    "postgres-tuning-restart": "/postgres/tuning/restart/",
    "postgres-queries": "/postgres/queries/?period=reset",
    "postgres-explain": "/postgres/queries/explain/",
    "postgres-queries-reset": "/postgres/queries/reset/",
    "backups": "/backups/",
    "backup-take": "/backups/take/",
    "backup-schedules": "/backups/schedules/",
    "backup-schedule-new": "/backups/schedules/new/",
    "backup-retention": "/backups/retention/?last=1&daily=0&weekly=0&monthly=0&yearly=0",
    "backup-upload": "/backups/upload/",
    "not-found": "/nothing/here/",
}
FIRST_ROW = {
    "agent": "/agents/agent/",
    "memory": "/memories/memory/",
    "document": "/memories/document/",
    "job": "/jobs/job/",
    "user": "/auth/user/",
}
BELOW = {
    "agent-delete": ("agent", "delete/"),
    "agent-history": ("agent", "history/"),
    "memory-delete": ("memory", "delete/"),
}
NAMES = [*PLAIN, *FIRST_ROW, *BELOW]
Theme = Literal["light", "dark"]
#: How each page is looked at, in this order; axe judges each theme and each layout once.
LOOKS: tuple[tuple[Theme, int], ...] = (
    ("light", 1280),
    ("light", 1600),
    ("light", 400),
    ("dark", 400),
    ("dark", 1280),
)
JUDGED = (("light", 400), ("dark", 1280))


@pytest.fixture(scope="module")
def addresses(browser: Browser, site: Site, signed_in: Any) -> dict[str, str]:
    """Name to path of every page."""
    context = browser.new_context(storage_state=signed_in)
    page = context.new_page()
    found = dict(PLAIN)
    for name, listing in FIRST_ROW.items():
        page.goto(site.url + listing)
        link = page.locator("#result_list tbody th a, #result_list tbody td a").first
        found[name] = (link.get_attribute("href") or "").partition("?")[0]
        assert found[name].startswith(listing), f"no row leads from {listing}: {found[name]!r}"
    for name, (parent, suffix) in BELOW.items():
        found[name] = found[parent].removesuffix("change/") + suffix
    context.close()
    return found


@pytest.fixture
def opened(browser: Browser, signed_in: Any) -> Iterator[Any]:
    """A function that gives a context without a cache, in a theme."""
    contexts: list[BrowserContext] = []

    def make(theme: str, *, anonymous: bool = False) -> BrowserContext:
        context = browser.new_context(
            storage_state=None if anonymous else signed_in,
            color_scheme=theme,  # type: ignore[arg-type]
            viewport={"width": 1280, "height": 900},
        )
        context.set_default_timeout(SOON)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


def settle(page: Page) -> None:
    """Until what loads by itself has come."""
    page.wait_for_load_state("networkidle")


def sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_fit_to_be_shown(opened: Any, site: Site, addresses: dict[str, str], name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    faults: list[str] = []
    page: Page = opened("light", anonymous=name == "login").new_page()
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: (
            faults.append(f"console: {message.text}")
            if message.type == "error" and "404 (Not Found)" not in message.text
            else None
        ),
    )
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    answer = page.goto(site.url + addresses[name])
    assert answer is not None
    if answer.status != (404 if name == "not-found" else 200):
        faults.append(f"status {answer.status}")
    settle(page)
    # Once each: what a page asks again and again comes the oftener the slower the machine is.
    sizes = {one.url: one.request.sizes()["responseBodySize"] for one in reversed(responses)}
    weight = sum(sizes.values())
    print(f"{name}: {weight / 1000:.0f} kB in {len(responses)} answers")
    if weight > HEAVIEST:
        faults.append(f"{weight} bytes, more than {HEAVIEST}")
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(80)
        if sideways(page):
            faults.append(f"scrolls sideways at {width} px")
        page.screenshot(path=RESULTS / f"page-{name}-{theme}-{width}.png", full_page=width == 400)
        if (theme, width) not in JUDGED:
            continue
        still(page)
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                where = "; ".join(str(node["target"]) for node in violation["nodes"][:3])
                faults.append(f"axe {theme} {width}: {violation['id']} ({violation['help']}) at {where}")
    assert not faults, "\n".join(faults)


def test_the_navigation_is_a_menu_on_a_phone(opened: Any, site: Site) -> None:
    page: Page = opened("light").new_page()
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(site.url)
    menu = page.get_by_role("navigation", name="Rooms")
    expect(menu).to_be_hidden()
    button = page.get_by_role("button", name="Menu")
    button.focus()
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    page.screenshot(path=RESULTS / "page-menu-light-400.png")
    menu.get_by_role("link", name="Memories", exact=True).click()
    page.wait_for_url(re.compile("/memories/memory/"))


def test_the_pictures_of_the_readme(opened: Any, site: Site) -> None:
    """Copied into docs/images when what they show has changed; last, so that the charts have figures."""
    page: Page = opened("light").new_page()
    page.goto(site.url)
    settle(page)
    expect(page.locator("[data-panel] .big").nth(4)).to_be_visible()
    page.screenshot(path=RESULTS / "readme-overview.png")
    page.goto(f"{site.url}{PLAIN['search-results']}")
    expect(page.locator("mark").first).to_be_visible()
    page.screenshot(path=RESULTS / "readme-search.png")
