"""The pages seen through a user whose ACL forbids much: what is off says why, and nothing breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from arcweb.embedded.stack import Stack
from arcweb.registry import registered_pages
from cache_admin import connections
from cache_admin.server.capabilities import capabilities, forget
from tests.cache_admin.conftest import rules_known
from tests.people import client_of
from tests.stack import PRODUCT

pytestmark = pytest.mark.django_db
PAGES = ["/redis/", "/redis/eviction/", "/redis/config/"]


@pytest.fixture
def limited(throwaway_stack: Callable[..., Stack], settings: Any) -> Iterator[Callable[..., Redis]]:
    """`limited("+@read", …)` makes the cache role be reached as a user with these rules."""
    stack = throwaway_stack(postgres=False, roles=("cache",))
    full = stack.layout.redis_url("cache")
    opened = []

    def make(*rules: str) -> Redis:
        settings.REDIS_URL = full
        admin = connections.client("cache")
        opened.append(admin)
        admin.execute_command(
            "ACL SETUSER", "web", "reset", "on", ">se cret@", "~*", "&*", *rules_known(admin, *rules)
        )
        settings.REDIS_URL = full.replace(full.split("//")[1].split("@")[0], "web:se%20cret%40")
        settings.REDIS_STATE_URL = settings.REDIS_URL
        forget()
        return admin

    yield make
    for client in opened:
        client.close()
    forget()


def every_page() -> list[str]:
    """The addresses of all rooms, and of the pages below them that need no name of a thing."""
    return [
        f"/{page.path}?role={role}"
        for page in registered_pages()
        if page.group == "Redis" and page.listed
        for role in connections.ROLES
    ]


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-2000:]
    return str(response.content.decode())


def test_without_config_and_saving_the_pages_say_why(limited: Callable[..., Redis]) -> None:
    limited("+@all", "-config", "-save", "-bgsave", "-bgrewriteaof", "-flushdb", "-@dangerous", "+info")
    admin = client_of("administrator")
    overview = body(admin.get("/redis/"))
    assert "The server&#x27;s ACL forbids BGSAVE to the user web" in overview
    assert "forbids FLUSHDB" in overview
    assert "BGSAVE…" not in overview
    config = body(admin.get("/redis/config/"))
    assert "forbids CONFIG GET to the user web" in config
    assert "forbids CONFIG GET" in body(admin.get("/redis/config/change/?name=timeout"))
    for path, data in (
        ("/redis/save/?command=BGSAVE", {}),
        ("/redis/flush/?role=cache", {"typed": "db0"}),
        ("/redis/config/change/?name=timeout", {"step": "look", "value": "9"}),
        ("/redis/config/rewrite/", {}),
    ):
        assert "forbids" in body(admin.post(path, data), 409)
    assert "Safe" in body(admin.get("/redis/eviction/"))
    for page in PAGES:
        assert "cret" not in body(admin.get(page)).replace("secret", "")


def test_reading_config_and_not_setting_it(limited: Callable[..., Redis]) -> None:
    limited("+@all", "-config|set", "-config|rewrite")
    text = body(client_of("administrator").get("/redis/config/"))
    assert "maxmemory-policy" in text
    assert "Changing is off" in text
    assert "Change…" not in text


def test_without_info_the_overview_stands(limited: Callable[..., Redis]) -> None:
    limited("+@all", "-info")
    viewer = client_of("viewer")
    text = body(viewer.get("/redis/"))
    assert "keeps its figures to itself" in text
    assert re.search(rf"{PRODUCT} [79]\.\d", text)  # HELLO tells
    assert "forbids INFO" in body(viewer.get("/redis/eviction/"))


def test_the_least_that_connects(limited: Callable[..., Redis]) -> None:
    limited("+ping", "+client|setname", "+client|setinfo", "+select")
    for page in PAGES:
        text = body(client_of("viewer").get(page))
        assert "forbids" in text


def documented(user: str) -> list[str]:
    """The rules of a user in docs/REDIS.md, without name and password."""
    text = (Path(__file__).parents[3] / "docs" / "REDIS.md").read_text()
    line = re.search(rf"^ACL SETUSER {user} on >PASSWORD ([^`]*)^```", text, re.MULTILINE)
    assert line is not None
    return line[1].split()


def test_the_documented_viewer_sees_and_may_change_nothing(limited: Callable[..., Redis]) -> None:
    limited(*documented("arcweb-viewer"))
    off = set(capabilities("cache").reasons)
    assert not off & {"INFO", "CONFIG GET", "CLIENT LIST", "SLOWLOG", "LATENCY", "MEMORY USAGE", "SCAN"}
    assert off >= {
        "CONFIG SET",
        "CLIENT KILL",
        "UNLINK",
        "FLUSHDB",
        "BGSAVE",
        "SAVE",
        "SLOWLOG RESET",
        "EVAL",
    }
    for page in PAGES:
        assert "state unknown" not in body(client_of("administrator").get(page))


def test_the_documented_user_of_this_site_may_do_all_that_its_pages_do(limited: Callable[..., Redis]) -> None:
    limited(*documented("arcweb"), "+commandlog")
    lacking = set() if PRODUCT == "Valkey" else {"COMMANDLOG", "COMMANDLOG LEN", "COMMANDLOG RESET"}
    assert set(capabilities("cache").reasons) == {"ACL", "CLUSTER", "SENTINEL"} | lacking
    assert body(client_of("administrator").get("/redis/config/"))


def test_a_wrong_password_is_told(limited: Callable[..., Redis], settings: Any) -> None:
    limited("+@all")
    settings.REDIS_URL = settings.REDIS_URL.replace("se%20cret", "wrong")
    forget()
    for page in PAGES:
        text = body(client_of("viewer").get(page), 503)
        assert "refuses the login" in text
        assert "wrong" not in text.split("<main")[1].replace("wrong password", "").replace(
            "what is wrong", ""
        ).replace("WRONGPASS", "")


@pytest.mark.parametrize("user", ["arcweb-viewer", "arcweb"])
def test_every_page_stands_for_the_documented_users(limited: Callable[..., Redis], user: str) -> None:
    more = {"arcweb-viewer": ("+commandlog|get", "+commandlog|len"), "arcweb": ("+commandlog",)}
    admin = limited(*documented(user), *more[user])
    admin.set("arcweb:1:page", '{"title": "a value"}', ex=60)
    admin.zadd("leaderboard", {"player1": 100})
    admin.rpush("arcweb:celery:celery", "{}")
    browser = client_of("administrator")
    addresses = every_page()
    assert len(addresses) > 24
    for address in addresses:
        text = body(browser.get(address))
        assert "cret" not in text.replace("secret", ""), address


def test_every_page_says_why_to_the_least_that_connects(limited: Callable[..., Redis]) -> None:
    limited("+ping", "+client|setname", "+client|setinfo", "+select")
    browser = client_of("administrator")
    for address in every_page():
        if "/bigkeys/" in address or address == "/redis/queues/?role=cache":
            continue  # these ask nothing of that server
        response = browser.get(address)
        text = response.content.decode()
        assert response.status_code in (200, 503), address
        assert "forbids" in text, address
        assert ">Away" not in text, address


def test_every_page_tells_a_wrong_password(limited: Callable[..., Redis], settings: Any) -> None:
    limited("+@all")
    settings.REDIS_URL = settings.REDIS_STATE_URL = settings.REDIS_URL.replace("se%20cret", "wrong")
    forget()
    browser = client_of("administrator")
    for address in every_page():
        if "/bigkeys/" in address or address == "/redis/queues/?role=cache":
            continue
        assert "refuses the login" in body(browser.get(address), 503), address
