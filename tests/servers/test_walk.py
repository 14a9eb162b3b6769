"""Every address of the admin, as everybody, whatever is away: words in time, and never a 500."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from arcweb.panels import panels
from tests.servers.conftest import STATEMENT_SECONDS
from tests.servers.frozen import frozen
from tests.servers.site import Answer, Browser, Site, title
from tests.waiting import until

#: Seconds: about one is promised, the rest is for two people at once on a machine that runs other tests too.
#: Whoever waits for the end of a statement waits longer (ARC_WEB_STATEMENT_SECONDS and a second).
IN_TIME = STATEMENT_SECONDS - 5.0
ROLES = ("anonymous", "viewer", "operator", "administrator")
AWAY = ("", "postgres", "redis-cache", "redis-state", "worker", "beat")
#: Addresses that end what the walk needs, or ask for a token instead of a login.
LEFT_OUT = ("logout", "metrics")
#: Where everybody may send something of their own.
OWN = ("login", "state", "app_list", "account", "account_theme", "account_end_others", "password_change")
PASSWORD = "correct horse battery"
#: Makes somebody of each role, and something of each kind; prints what the addresses are filled with, by the
#: name of the parameter, and by the beginning of the address's name.
ROWS = f"""
import json
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone
from redis import Redis
from agents.models import Agent
from arcweb.accounts.models import UserSession
from arcweb.backups.models import Schedule
from arcweb.jobs.models import Job
from cache_admin.keys.names import code_of
from memories.models import Document, Memory
from tests.backups.made import make_copy
for role in {ROLES[1:]!r}:
    user = User.objects.create_user(role, password={PASSWORD!r})
    user.groups.add(Group.objects.get(name=role))
agent = Agent.objects.create(name="walker", type="tester")
session = UserSession.objects.filter(user__username="admin").first()
rows = {{
    "agents_agent": agent,
    "memories_memory": Memory.objects.create(agent=agent, content="A memory to walk over."),
    "memories_document": Document.objects.create(agent=agent, name="walked.md", content_hash=b"0" * 32),
    "jobs_job": Job.objects.create(kind="walk", state="succeeded", finished_at=timezone.now()),
    "session_end": session,
    "account_end_session": session,
    "sessions_end_all": session.user,
    "auth_user": User.objects.get(username="viewer"),
    "auth_group": Group.objects.first(),
}}
for url in (settings.REDIS_URL, settings.REDIS_STATE_URL):
    Redis.from_url(url).set("walked:over", "a value")
with connection.cursor() as cursor:
    cursor.execute("SELECT queryid FROM pg_stat_statements JOIN pg_database ON oid = dbid "
                   "WHERE datname = current_database() AND query LIKE 'SELECT%' LIMIT 1")
    (queryid,) = cursor.fetchone()
print(json.dumps([
    {{name: str(row.pk) for name, row in rows.items()}},
    {{
        "backup": str(make_copy().pk), "schedule": str(Schedule.objects.first().pk), "queryid": str(queryid),
        "code": code_of(b"walked:over"),
    }},
]))
"""
#: What is there without being made; a session, a client, a lease and a restore that are not are "gone".
THERE = {
    "schema": "agents", "table": "memories", "index": "memories_pkey", "queue": "celery",
    "pid": "1", "started": "1", "client_id": "1", "token": "x",
    "restore": "0b9f2c4e-0000-4000-8000-000000000001",
}  # fmt: skip
#: The parameter "name" by the beginning of the address's.
NAMED = {"alert": "servers.worker", "database_setting": "work_mem"}


@dataclass(frozen=True)
class Address:
    path: str
    name: str


@dataclass(frozen=True)
class Filling:
    rows: dict[str, str]  #: by the beginning of an address's name
    values: dict[str, str]  #: by the name of a parameter

    def filled(self, path: str, name: str) -> str:
        """With what the address is about."""
        row = next(
            (
                row
                for kind, row in self.rows.items()
                if name.startswith(kind) or kind.replace("_", "/") in path
            ),
            self.rows["agents_agent"],
        )
        named = next((value for begin, value in NAMED.items() if name.startswith(begin)), row)
        known = {**self.values, "name": named}
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known.get(found[1], row), path)


@pytest.fixture(scope="package")
def addresses(site: Site) -> list[Address]:
    """Every address that the resolver knows, filled from real rows."""
    rows, values = json.loads(site.shell(ROWS).splitlines()[-1])
    found = list(_addresses(get_resolver(), "/", Filling(rows, THERE | values)))
    assert len(found) > 40
    elsewhere = [one for one in found if one.name and resolve(one.path).url_name != one.name]
    assert not elsewhere, "they are filled with what leads to another page"
    return found


def _addresses(resolver: URLResolver, prefix: str, filling: Filling) -> Iterator[Address]:
    for each in resolver.url_patterns:
        route = str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _addresses(each, prefix + route, filling)
            continue
        assert isinstance(each, URLPattern)
        name = each.name or ""
        if name in LEFT_OUT:
            continue
        path = prefix + route
        if path.endswith("(?P<url>.*)$"):
            path = "/nowhere/"  # the admin's catch-all
        elif "app_label" in path:
            path = "/agents/"
        if "panels/" in path:
            for panel in panels("agent" if "agent>" in path else "overview"):
                yield Address(filling.filled(path.replace("<slug:name>", panel.name), name), name)
        else:
            yield Address(filling.filled(path, name), name)


@pytest.fixture(scope="package")
def people(site: Site, addresses: list[Address]) -> dict[str, Browser]:
    found = {role: Browser(site.port).login(role, PASSWORD) for role in ROLES[1:]}
    for browser in found.values():
        browser.get("/")
    return {"anonymous": Browser(site.port), **found}


def allowed(away: str, role: str, address: Address, answer: Answer) -> bool:
    if away == "postgres":
        return answer.status == 503
    if away in ("redis-cache", "redis-state") and address.name.startswith("redis_") and answer.status == 503:
        return "Away" in answer.text  # the rooms of the server itself say so
    if role == "anonymous":
        return answer.status in (200, 302, 404)
    return answer.status in (200, 204, 302, 400, 403, 404, 405, 410)


@pytest.mark.parametrize("away", AWAY)
def test_every_page_as_everybody(
    site: Site, addresses: list[Address], people: dict[str, Browser], away: str
) -> None:
    with ExitStack() as exits:
        if away:
            exits.enter_context(frozen(site.processes(away)))
        if away in ("postgres", "redis-cache", "redis-state"):
            site.wait_for(**{away.replace("-", "_"): False})
        ask = _get if away == "postgres" else _patiently
        # Pages ask nothing of worker and beat: who sees all of them is enough there.
        roles = ["administrator"] if away in ("worker", "beat") else list(people)
        asked = [(role, address) for role in roles for address in addresses if address.name != "state"]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one: ask(people[one[0]], one[1]), asked))
    wrong = [
        f"{role} {address.path}: {answer.status} in {answer.seconds:.1f} s"
        for (role, address), answer in zip(asked, answers, strict=True)
        if not allowed(away, role, address, answer) or answer.seconds > IN_TIME
    ]
    worst = max(answers, key=lambda answer: answer.seconds)
    print(f"{away or 'all well'}: {len(answers)} answers, worst {worst.seconds:.2f} s")
    assert wrong == []
    site.wait_until_well()


def _get(browser: Browser, address: Address) -> Answer:
    return browser.get(address.path)


def _patiently(
    browser: Browser, address: Address, ask: Callable[[Browser, Address], Answer] = _get
) -> Answer:
    """Once more where a busy machine was late with a connection: that page says that PostgreSQL is away."""
    answer = ask(browser, address)
    if answer.status == 503 and "PostgreSQL" in title(answer.text):
        until(lambda: browser.get("/login/").status != 503)
        answer = ask(browser, address)
    return answer


def test_what_a_viewer_or_a_stranger_sends_changes_nothing(
    site: Site, addresses: list[Address], people: dict[str, Browser]
) -> None:
    with frozen(site.processes("beat")):  # what is made by the clock is no change of theirs
        _change_nothing(site, addresses, people)
    site.wait_until_well()


def _intrude(browser: Browser, address: Address) -> Answer:
    return browser.post(address.path, {"name": "intruder", "post": "yes", "typed": "walker"})


def _change_nothing(site: Site, addresses: list[Address], people: dict[str, Browser]) -> None:
    before = _counts(site)
    taken = []
    for role in ("anonymous", "viewer"):
        for address in addresses:
            if address.name in OWN or not address.name:  # nameless: Django's redirect to the row's page
                continue
            answer = _patiently(people[role], address, _intrude)
            if answer.status >= 500 or answer.seconds > IN_TIME or _was_taken(people[role], answer):
                taken.append(f"{role} {address.path}: {answer.status} {answer.headers.get('Location', '')}")
    assert taken == [], "\n".join(taken)
    assert _counts(site) == before


def _was_taken(browser: Browser, answer: Answer) -> bool:
    """A redirect to anywhere but the login, or a page that refuses, means that something was done."""
    where = answer.headers.get("Location", "")
    return answer.status == 302 and "/login/" not in where and browser.get(where).status != 403


def _counts(site: Site) -> dict[str, Any]:
    """Rows of every table that people change."""
    code = (
        "import json; from django.apps import apps; print(json.dumps({m._meta.label: m.objects.count() "
        "for m in apps.get_models() if m._meta.app_label in ('agents', 'memories', 'jobs', 'auth')}))"
    )
    counts: dict[str, Any] = json.loads(site.shell(code).splitlines()[-1])
    return counts
