"""Keys in a browser: two people edit one, a pattern is counted and deleted, big keys are measured."""

from __future__ import annotations

import base64
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import RESULTS, Site, still

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
#: Milliseconds: the page asks every five seconds.
ASKED = 120_000


def fit(page: Page, name: str) -> None:
    """Nothing sideways at 400 and 1600 px, nothing serious for axe; pictures of both."""
    RESULTS.mkdir(exist_ok=True)
    for width in (1600, 400):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(80)
        page.screenshot(path=RESULTS / f"{name}-{width}.png", full_page=True)
        assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth"), (name, width)
        still(page)
        grave = [
            one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")
        ]
        assert not grave, (name, width, [(one["id"], one["nodes"][0]["target"]) for one in grave])
    page.set_viewport_size({"width": 1280, "height": 900})


def shell(site: Site, *lines: str) -> None:
    """Run these on the state role."""
    site.manage("redis_shell", *(part for line in lines for part in ("-c", line)))


def address(key: bytes) -> str:
    return f"/redis/keys/{base64.urlsafe_b64encode(key).decode().rstrip('=')}/?role=state"


def test_two_people_edit_one_key(browser: Browser, site: Site) -> None:
    page = browser.new_page()  # not the fixture: the console calls the answer 409 an error
    shell(site, """SET user:123:profile '{"name":"John"}' EX 3600""")
    site.log_in(page)
    page.goto(f"{site.url}/redis/keys/?role=state&match=user:*")
    page.get_by_role("link", name="user:123:profile").click()
    expect(page.get_by_text('"name": "John"')).to_be_visible()
    fit(page, "redis-key-string")

    context = browser.new_context()
    other = context.new_page()
    site.log_in(other)
    other.goto(site.url + address(b"user:123:profile"))
    other.get_by_role("textbox", name="Value", exact=True).fill('{"name":"Grace"}')
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_text("The value was changed")).to_be_visible()
    context.close()

    page.get_by_role("textbox", name="Value", exact=True).fill('{"name":"Ada"}')
    with page.expect_response(lambda answer: answer.request.method == "POST") as late:
        page.get_by_role("button", name="Save").click()
    assert late.value.status == 409
    expect(page.get_by_text("Somebody else changed this value")).to_be_visible()
    expect(page.locator("pre.value")).to_contain_text("Grace")
    expect(page.get_by_role("textbox", name="Value", exact=True)).to_have_value('{"name":"Ada"}')
    page.get_by_role("button", name="Overwrite with mine").click()
    expect(page.get_by_text("The value was changed")).to_be_visible()
    expect(page.locator("pre.value")).to_contain_text("Ada")
    expect(page.locator(".verdict")).to_contain_text(re.compile(r"it expires in (5\d|60) min"))
    page.close()


def test_a_pattern_is_deleted(page: Page, site: Site) -> None:
    shell(site, *(f"SET trash:{number} x" for number in range(30)), "SET kept 1")
    site.log_in(page)
    page.goto(f"{site.url}/redis/keys/?role=state&match=trash:*")
    fit(page, "redis-keys-list")
    page.get_by_role("link", name="Delete by pattern").click()
    page.get_by_role("button", name="Count the keys").click()
    expect(page.get_by_text("30 keys of the state role match trash:*")).to_be_visible()
    fit(page, "redis-delete-counted")
    page.get_by_label("To confirm, type the number of keys").fill("30")
    page.get_by_role("button", name="Delete 30 keys").click()
    expect(page.get_by_text("succeeded", exact=False).first).to_be_visible()
    page.goto(f"{site.url}/redis/keys/?role=state&match=trash:*")
    expect(page.get_by_text("Nothing passes the filters.")).to_be_visible()


def test_big_keys_are_measured(page: Page, site: Site) -> None:
    shell(
        site,
        f"SET big:one {'x' * 60_000}",
        "ZADD leaderboard 100 player1 150 player2",
        "RPUSH big:list a b c",
    )
    site.log_in(page)
    page.goto(f"{site.url}/redis/bigkeys/?role=state")
    page.get_by_role("button", name="Measure now").click()
    expect(page.get_by_text("succeeded", exact=False).first).to_be_visible()
    page.goto(f"{site.url}/redis/bigkeys/?role=state")
    expect(page.get_by_text("the largest is big:one")).to_be_visible()
    fit(page, "redis-bigkeys-measured")
    page.get_by_role("link", name="leaderboard", exact=True).click()
    expect(page.get_by_role("cell", name="player2")).to_be_visible()
    fit(page, "redis-key-zset")


def test_a_key_expires_while_it_is_open(browser: Browser, site: Site) -> None:
    page = browser.new_page()  # not the fixture: the console calls the answer 409 an error
    shell(site, "SET brief first", "EXPIRE brief 600")
    site.log_in(page)
    page.goto(site.url + address(b"brief"))
    expect(page.get_by_text("Unchanged since you opened it")).to_be_visible()
    field = page.get_by_role("textbox", name="Value", exact=True)
    field.fill("typed with care")
    # Not by a process that takes seconds to end: the page cries out once, until it looks again.
    with site.redis("state") as server:
        server.set("brief", "second", keepttl=True)
    expect(page.get_by_role("alert").get_by_text("Somebody changed what is shown here")).to_be_visible(
        timeout=ASKED
    )
    shell(site, "DEL brief")
    expect(page.get_by_role("alert").get_by_text("the key has expired, or was deleted")).to_be_visible(
        timeout=ASKED
    )
    expect(page.locator("#keynow[hx-get]")).to_have_count(0)  # it asks no more
    expect(field).to_have_value("typed with care")
    fit(page, "redis-key-gone-open")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("textbox", name="Value", exact=True)).to_have_value("typed with care")
    expect(page.get_by_label("Expires in (seconds)")).to_have_value(re.compile(r"5\d\d|600"))
    fit(page, "redis-key-anew")
    page.get_by_label("Expires in (seconds)").fill("300")
    page.get_by_role("button", name="Make the key anew").click()
    expect(page.get_by_text("The key was made anew and expires in 300 s")).to_be_visible()
    expect(page.locator("pre.value")).to_have_text("typed with care")
    page.close()


def test_a_hidden_page_does_not_ask(page: Page, site: Site) -> None:
    shell(site, "SET watched 1")
    site.log_in(page)
    page.goto(site.url + address(b"watched"))
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/now/" in request.url else None)
    page.wait_for_timeout(6_000)
    assert not asked
    with page.expect_request(re.compile("/now/")):
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: false}); "
            "document.dispatchEvent(new Event('visibilitychange'))"
        )


def test_a_field_is_changed_added_and_removed(page: Page, site: Site) -> None:
    shell(site, "HSET person name John age 7", "EXPIRE person 600")
    site.log_in(page)
    page.goto(site.url + address(b"person"))
    page.get_by_role("link", name="Change or remove name").press("Enter")
    fit(page, "redis-key-field")
    page.get_by_role("textbox", name="Value", exact=True).fill("Ada")
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_text("The field was changed; the expiry of the key is as before")).to_be_visible()
    expect(page.get_by_role("cell", name="Ada")).to_be_visible()
    page.get_by_text("Add a field").press("Enter")
    page.get_by_role("textbox", name="Field", exact=True).fill("city")
    page.get_by_role("textbox", name="Value", exact=True).fill("London")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("cell", name="London")).to_be_visible()
    page.get_by_role("link", name="Change or remove age").click()
    page.get_by_role("button", name="Remove this field").click()
    expect(page.get_by_text("The field age was removed")).to_be_visible()
    with page.expect_download() as file:
        page.get_by_role("link", name="Download as JSON lines").click()
    assert '"field": "city", "value": "London"' in file.value.path().read_text()
