"""A look that ended early is gone on with in Keys, step by step, to the last key."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from redis import Redis

from tests.people import client_of

pytestmark = pytest.mark.django_db


def links(client: Client, page: str) -> list[str]:
    """Where the page leads for the rest."""
    html = client.get(f"{page}?role=state").content.decode()
    return [unescape(url) for url in re.findall(r'href="([^"]*[?&](?:amp;)?match=[^"]*)"', html)]


def walked(client: Client, url: str) -> set[str]:
    """The names of all keys that the list shows from that address to its end."""
    path, names = url.partition("?")[0], set()
    while url:
        html = client.get(url).content.decode()
        names |= set(re.findall(r'<td class="mono name">(?:<a [^>]*>)?([^<]+)', html))
        after = re.search(r'rel="next" href="([^"]+)"', html)
        url = path + unescape(after[1]) if after else ""
    return names


@pytest.mark.parametrize(
    ("page", "most", "names"),
    [
        ("/redis/limits/", 100, "rate:{}"),
        ("/redis/locks/", 200, "lock:{}"),
        ("/redis/leaderboards/", 24, "board:{}"),
        ("/redis/sessions/", 100, "session:{:04}hidden"),
    ],
)
def test_the_rest_is_a_link_away(state: Redis, page: str, most: int, names: str) -> None:
    client = client_of("viewer")
    keys = [names.format(number) for number in range(most + 1)]
    state.set("other", "of no matter")
    with state.pipeline(transaction=False) as pipe:
        for key in keys[1:]:
            pipe.zadd(key, {"ada": 1}) if "board" in key else pipe.set(key, "1")
        pipe.execute()
        assert links(client, page) == [], "all are on the page"
        pipe.zadd(keys[0], {"ada": 1}) if "board" in keys[0] else pipe.set(keys[0], "1")
        pipe.expire(keys[0], 900)
        pipe.execute()
    shown = {key.replace("hidden", "…") for key in keys}
    all_of_them, endless = links(client, page)
    assert walked(client, all_of_them) == shown
    assert walked(client, endless) == shown - {keys[0].replace("hidden", "…")}


def test_two_looks_lead_two_ways(state: Redis) -> None:
    for number in range(101):
        state.set(f"rate:{number}", 1)
        state.set(f"arcweb:limit:api:{number}", 1)
    assert len(links(client_of("viewer"), "/redis/limits/")) == 4
