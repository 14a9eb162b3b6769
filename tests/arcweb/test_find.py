"""What the command palette finds, for whom, and at what cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from agents.models import Agent
from arcweb import shell
from arcweb.registry import destinations, navigation
from tests.people import client_of

#: Pages that nobody goes to: the palette's own, and the receipt of a form.
NOWHERE = {"/find/", "/password_change/done/"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not the point here."""
    monkeypatch.setattr(shell, "FINDER_SECONDS", 30.0)


def find(client: Client, text: str) -> str:
    answer = client.get("/find/", {"q": text}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.django_db
def test_pages_and_things_for_those_who_may_see_them() -> None:
    scout = Agent.objects.create(name="Scout <1>", type="research")
    viewer, nobody = client_of("viewer"), client_of("")
    found = find(viewer, "sco")
    assert f'href="/agents/agent/{scout.pk}/change/"' in found
    assert "Scout &lt;1&gt;" in found
    assert find(viewer, str(scout.pk)).count('role="option"') == 1
    assert "Scout" not in find(nobody, "sco")
    assert 'href="/events/"' in find(viewer, "event")
    assert 'href="/sessions/"' not in find(viewer, "session")
    assert 'href="/sessions/"' in find(client_of("administrator"), "session")
    page = viewer.get("/find/", {"q": "sco"}).content.decode()
    assert f'href="/agents/agent/{scout.pk}/change/"' in page
    assert "Nothing is named “zzz”" in find(viewer, "zzz")


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["%", "_", "\\", '"', "-", "'", "(", "\u200b", "a" * 5000, "0" * 32])
def test_whatever_is_typed(text: str) -> None:
    find(client_of("administrator"), text)


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_what_there_is() -> None:
    client, asked = client_of("viewer"), []
    for number in (10, 1000):
        Agent.objects.bulk_create(Agent(name=f"Scout {number}-{row}", type="t") for row in range(number))
        with CaptureQueriesContext(connection) as queries:
            assert find(client, "sco").count('href="/agents/agent/') == 6
        asked.append(len(queries))
    assert asked[0] == asked[1]


@pytest.mark.django_db(transaction=True)
def test_a_locked_table_costs_only_its_own_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of("viewer")
    Agent.objects.create(name="Eve", type="t")
    there: Any = connection.settings_dict
    names = {"host": there["HOST"], "dbname": there["NAME"], "user": there["USER"]}
    with psycopg.connect(**names, password=there["PASSWORD"], port=there["PORT"] or None) as other:
        other.execute("LOCK TABLE agents.documents, agents.memories IN ACCESS EXCLUSIVE MODE")
        with monkeypatch.context() as patch:
            patch.setattr(shell, "FINDER_SECONDS", 3.0)
            found = find(client, "eve")
        other.rollback()  # the tables were locked all the time
    assert ">Eve<" in found
    assert 'href="/events/"' in found
    assert "too slow or failed: Memories, Documents." in found
    assert "too slow" not in find(client, "eve")


def plain_addresses() -> Iterator[str]:
    """Every address of the site that has no arguments, but for that which logs out."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[str]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif (
                isinstance(pattern, URLPattern) and pattern.name != "logout" and not re.search("[<(]", route)
            ):
                yield f"/{route}"

    return walk(get_resolver().url_patterns, "")


@pytest.mark.django_db
def test_every_page_is_found_and_the_navigation_marks_its_line() -> None:
    client = client_of("superuser")
    titles = {"/": "Overview"} | {reverse(item.url_name): item.title for item in destinations()}
    listed = {reverse(item.url_name) for item in navigation()}
    pages = {}
    for address in plain_addresses():
        answer = client.get(address)
        if answer.status_code == 200 and not answer.streaming and b"<html" in answer.content:
            pages[address] = answer.content.decode()
    assert set(pages) - NOWHERE == set(titles)
    for address in set(titles) - listed:
        assert f'href="{address}"' in find(client, titles[address]), address
    at_first = find(client, "")
    assert {address for address in titles if f'href="{address}"' in at_first} == {"/", *listed}
    for address, page in pages.items():
        [side] = re.findall(r'<nav class="side".*?</nav>', page, re.DOTALL)
        marked = re.findall(r'href="([^"]*)" aria-current="(page|true)"', side)
        own = address.startswith(("/account/", "/password_change/", "/find/"))
        if address in listed | {"/"}:
            assert marked == [(address, "page")], address
        else:
            assert len(marked) == (0 if own else 1), address
            assert all(state == "true" for _, state in marked), address
        if address.startswith(("/backups/", "/restores/", "/erasures/", "/point-in-time/")):
            [crumbs] = re.findall(r'aria-label="Breadcrumbs">(.*?)</nav>', page, re.DOTALL)
            above = re.findall('href="([^"]*)"', crumbs)
            assert above[:2] == (["/"] if address == "/backups/" else ["/", "/backups/"]), address
            assert address not in above, address
    for address, line in (("/point-in-time/", "/backups/"), ("/erasures/", "/restores/")):
        assert f'<a href="{line}" aria-current="true">' in pages[address]


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["", "viewer", "operator"])
def test_a_page_that_is_not_listed_is_found_by_those_who_may_open_it(role: str) -> None:
    client = client_of(role)
    for item in destinations():
        if not item.listed:
            address = reverse(item.url_name)
            found = f'href="{address}"' in find(client, item.title)
            assert found == (client.get(address).status_code == 200), (role, address)


@pytest.mark.django_db
def test_words_in_any_order_find_a_page() -> None:
    client = client_of("administrator")
    assert 'href="/backups/schedules/"' in find(client, "schedules backup")
    assert 'href="/point-in-time/"' in find(client, "time restore")
    assert 'href="/erasures/"' in find(client, "safety erasures")
    assert "Nothing is named “backup zzz”" in find(client, "backup zzz")
