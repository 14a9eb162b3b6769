"""The page of the server: what stands on it, for whom, and at what cost."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from arcweb.database import findings
from arcweb.database.activity import locks
from arcweb.database.findings import Finding, Look
from arcweb.database.overview import by_hand, figures, views, vitals, words
from arcweb.database.overview import verdict as verdict_module
from arcweb.panels import State
from tests.database.overview.conftest import sample_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
PANELS = ["verdict", "courses", "by-hand", *(group.name for group in figures.GROUPS)]


@pytest.fixture
def viewer(client: Client) -> Client:
    user = User.objects.create_user("vera")
    user.user_permissions.add(
        Permission.objects.get(codename="view_server", content_type__app_label="database")
    )
    client.force_login(user)
    return client


def get(client: Client, query: str = "") -> str:
    response = client.get(f"/postgres/{query}")
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_only_who_may_see_the_server_sees_the_page(client: Client) -> None:
    assert client.get("/postgres/").status_code == 302
    client.force_login(User.objects.create_user("nobody"))
    assert client.get("/postgres/").status_code == 403
    assert client.get("/postgres/?panel=work").status_code == 403


def test_every_panel_stands_on_the_page_and_is_asked_for_alone(viewer: Client) -> None:
    text = get(viewer)
    for name in PANELS:
        assert f'id="panel-{name}"' in text
        assert f"?panel={name}" in text
        fragment = get(viewer, f"?panel={name}")
        assert "<html" not in fragment
        assert 'class="trouble"' not in fragment
        assert "data-taken" in fragment  # its age is told when it gets no answer
    assert viewer.get("/postgres/?panel=other").status_code == 404
    assert viewer.get("/postgres/?period=year").status_code == 400
    assert viewer.post("/postgres/").status_code == 405


def test_every_figure_names_its_source(viewer: Client) -> None:
    text = get(viewer)
    assert (
        len(re.findall(r'title="From (pg_|max_|server_|autovacuum|age of|has_)', text))
        == text.count("sourced")
        > 25
    )


def test_the_four_statements_of_the_handbook_give_the_pages_numbers(viewer: Client) -> None:
    Agent.objects.create(name="Scout", type="research")

    def agree() -> bool:
        """A session may come or go between the two looks."""
        text = get(viewer)
        with connection.cursor() as cursor:
            answers = []
            for statement in (
                by_hand.SESSIONS,
                by_hand.SIZE.format(database=connection.settings_dict["NAME"]),
            ):
                cursor.execute(statement)
                answers.append(str(cursor.fetchone()[0]))
            cursor.execute(by_hand.ACTIVE)
            active = len(cursor.fetchall())
        sessions, size = answers
        shown = {"All processes": sessions, "Active queries": str(active), ">Database": size}
        return all(
            re.search(rf"{name}<.*?<dd class=\"num\">{value}<", text, re.DOTALL)
            for name, value in shown.items()
        ) and all(f'<td class="num">{answer}' in text for answer in (sessions, size, f"{active} row"))

    until(agree)
    text = get(viewer)
    for line in by_hand.HIT_RATIO.splitlines():
        assert line.strip() in text


def test_the_hit_ratio_is_the_handbooks(viewer: Client) -> None:
    Agent.objects.create(name="Scout", type="research")

    def agree() -> bool:
        """Nothing may have been flushed yet, or more is between the two looks."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT sum(heap_blks_hit + heap_blks_read) FROM pg_statio_user_tables")
            if not cursor.fetchone()[0]:
                page = get(viewer)
                return "division by zero" in page and "nothing was read" in page
            cursor.execute(by_hand.HIT_RATIO)
            share = float(cursor.fetchone()[0])
        typed = {line.title: line.answer for line in by_hand.by_hand()}
        same = float(typed["Cache hit ratio"]) == pytest.approx(share)
        return same and f"{100 * share:.2f} %" in get(viewer, "?panel=work")

    until(agree)


@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a lock: those of the tests beside this one take statements of their own."""
    monkeypatch.setattr(locks, "blocking", lambda most=0: [])


@pytest.mark.usefixtures("nobody_waits")
def test_the_number_of_queries_does_not_grow(viewer: Client) -> None:
    get(viewer)
    counts = []
    for rows in (1, 500):
        Agent.objects.bulk_create(Agent(name=f"{rows}", type=f"{one}") for one in range(rows))
        with CaptureQueriesContext(
            connection,
        ) as asked:
            get(viewer)
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("patience", [4])
def test_a_panel_that_is_too_slow_or_lacks_a_right_fails_alone(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow() -> words.Shown:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        raise AssertionError

    groups = [
        words.Group("work", "Work", slow, "The figures of the work"),
        words.Group("size", "Size", figures.sizes, "The size"),
    ]
    monkeypatch.setattr(views, "GROUPS", groups)
    text = get(viewer)
    assert "The figures of the work took more than 0.7 s and were stopped" in text
    assert "server_version" in text
    assert "Over time" in text


def test_a_page_without_time_says_what_it_did_not_ask(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SECONDS", 0.0)
    late = "the server is busy, and the page had no time left"
    text = get(viewer)
    assert 0 < text.count(late) < len(figures.GROUPS) + 2, "what the verdict has asked is shown"
    assert "All processes" in text
    monkeypatch.setattr(findings, "_looks", {})
    assert get(viewer).count(late) == len(figures.GROUPS) + 2


@pytest.mark.usefixtures("nobody_waits")
def test_the_page_asks_nothing_twice(viewer: Client) -> None:
    sample_of(timedelta(minutes=30))
    get(viewer)
    with CaptureQueriesContext(connection) as asked:
        get(viewer)
    of_a_part = ("SAVEPOINT", "RELEASE", "ROLLBACK", "set_config", "pg_stat_clear_snapshot")
    statements = [str(query["sql"]) for query in asked.captured_queries]
    real = [sql for sql in statements if not any(word in sql for word in of_a_part)]
    assert len(real) == len(set(real)) > 40
    for view in ("pg_stat_archiver", "pg_sequences AS seen", "pg_stat_wal", "FROM pg_stat_checkpointer"):
        assert sum(view in sql for sql in real) == 1, view
    alone = len(statements)
    with CaptureQueriesContext(connection) as asked:
        for name in PANELS:
            get(viewer, f"?panel={name}")
    sessions = len(PANELS) - 1  # each request asks who it is
    assert alone < len(asked) - sessions - 10


def test_a_part_that_fails_leaves_the_others_their_own_question(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at the server asks for four pieces at once; one that the server refuses takes none along."""
    monkeypatch.setitem(vitals.PIECES, "archive", "SELECT * FROM no_such_view")
    text = get(viewer)
    assert "The server's figures are not offered" in text
    assert "All processes" in text, "sessions, which stood in the same statement"
    assert "Autovacuum" in text
    assert text.count("are not offered by this server") == 3, (
        "the verdict, its list, and the panel of the WAL"
    )


# --- the verdict -------------------------------------------------------------------------------


def look(name: str, find: object, permission: str = "database.view_server") -> Look:
    return Look(name, name.capitalize(), find, "admin:jobs_job_changelist", 0.3, permission=permission)  # type: ignore[arg-type]


def finding(state: State) -> list[Finding]:
    return [Finding(state, f"It is {state}.")]


@pytest.mark.parametrize("patience", [8])
def test_the_worst_finding_is_the_verdict_and_a_look_that_fails_is_unknown(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow() -> list[Finding]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        return []

    def refused() -> list[Finding]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM pg_authid")
        return []

    def broken() -> list[Finding]:
        raise RuntimeError("no oil")

    looks = [
        look("warned", lambda: finding("warn")),
        look("slow", slow),
        look("refused", refused),
        look("broken", broken),
        look("secret", lambda: finding("bad"), permission="database.view_safety"),
    ]
    monkeypatch.setattr(findings, "_looks", {one.name: one for one in looks})
    text = get(viewer, "?panel=verdict")
    assert '<span class="state warn">One thing to do</span>' in text
    assert '<span class="say">It is warn.</span>' in text
    assert "Slow took more than 0.3 s" in text
    assert "Refused may not be seen by the role arc" in text
    assert 'GRANT pg_monitor TO "arc"' in text
    assert "Broken could not be looked at; the web process's log says why." in text
    assert "It is bad" not in text  # not this person's to see
    assert text.count('<a href="/jobs/job/">Show</a>') == 4


def test_looks_have_their_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_looks", {"late": look("late", lambda: finding("good"))})
    found = verdict_module.verdict(lambda permission: True, seconds=0.0)
    assert found.state == "unknown"
    assert found.sentence == "Late were not looked at: the others took the time."


def test_nobody_is_told_that_all_is_well_who_may_see_nothing() -> None:
    found = verdict_module.verdict(lambda permission: False)
    assert (found.state, found.word) == ("unknown", "Not all is known")


# --- the overview of the whole site ------------------------------------------------------------


def test_the_card_of_the_sites_overview_leads_here_and_judges_alike(admin_client: Client) -> None:
    sample_of(timedelta(seconds=20))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE samples_sample SET values = values || jsonb_build_object('xid_age', 400000000)"
        )
    card = admin_client.get("/panels/postgres/", headers={"HX-Request": "true"}).content.decode()
    assert 'href="/postgres/"' in card
    assert "The oldest transaction that is not frozen is 400,000,000 transactions old" in card
    verdict = admin_client.get("/panels/verdict/", headers={"HX-Request": "true"}).content.decode()
    assert "The oldest transaction that is not frozen" in verdict
