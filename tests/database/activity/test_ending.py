"""What is cancelled and ended: the statement that was seen, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from django.db import connection

from arcweb.database.activity import ending, sessions
from arcweb.database.activity.ending import Outcome
from arcweb.events.models import Event
from tests.database.activity.conftest import Other
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
Make = Callable[..., Other]


def address(session: sessions.Session, deed: str = "") -> str:
    return f"/postgres/activity/{session.pid}/{session.started}/{deed}"


def sleeping(other: Make, name: str = "sleeper") -> tuple[Other, sessions.Session]:
    sleeper = other(name, autocommit=True)
    sleeper.begin("SELECT pg_sleep(60)")
    until(lambda: sleeper.session().active)
    return sleeper, sleeper.session()


def test_a_statement_is_cancelled_and_its_session_lives(other: Make) -> None:
    sleeper, session = sleeping(other)
    said = client_of("operator").post(address(session, "cancel/"), {"asked": session.asked}, follow=True)
    assert "was told to stop, and has ended" in said.content.decode()
    sleeper.threads[0].join(60)
    assert isinstance(sleeper.failed[0], psycopg.errors.QueryCanceled)
    assert sleeper.session().state == "idle"
    event = Event.objects.get(kind=ending.CANCEL_TRIED)
    assert event.data["application"] == "sleeper"
    assert "tried to cancel what session" in client_of("administrator").get("/events/").content.decode()


def test_a_statement_that_has_ended_takes_no_other_with_it(other: Make) -> None:
    sleeper, seen = sleeping(other)
    sleeper.raw.cancel()
    sleeper.threads[0].join(60)
    sleeper.begin("SELECT pg_sleep(60) /* the next one */")
    until(lambda: sleeper.session().active)
    assert seen.asked is not None
    assert ending.cancel(seen, seen.asked) is Outcome.OVER
    said = client_of("operator").post(address(seen, "cancel/"), {"asked": seen.asked}, follow=True)
    assert "It had already ended" in said.content.decode()
    assert sleeper.session().active, "the next statement goes on"
    assert len(sleeper.failed) == 1


def test_a_number_that_was_used_again_is_never_hit(other: Make) -> None:
    _, session = sleeping(other)
    assert session.started is not None
    assert session.asked is not None
    earlier = replace(session, started=session.started - 1)
    assert ending.cancel(earlier, session.asked) is Outcome.GONE
    assert ending.terminate(earlier) is Outcome.GONE
    browser = client_of("operator")
    assert browser.get(address(earlier)).status_code == 404
    assert "has ended" in browser.get(address(earlier, "end/")).content.decode()
    assert browser.post(address(earlier, "end/"), {"typed": str(session.pid)}).status_code == 404
    assert sessions.find(session.pid, session.started).active  # type: ignore[union-attr]


def test_a_session_is_ended_only_after_a_cancel_and_when_typed(other: Make) -> None:
    idle = other("forgotten").run("SELECT 1")
    session = idle.session()
    browser = client_of("operator")
    assert "End the session…" not in browser.get(address(session)).content.decode()
    assert browser.post(address(session, "end/"), {"typed": str(session.pid)}).status_code == 400
    with pytest.raises(ValueError, match="asked to stop"):
        ending.terminate(session)
    said = browser.post(address(session, "cancel/"), {"asked": session.asked}, follow=True).content.decode()
    assert "there was nothing to cancel" in said
    assert "End the session…" in said
    assert "Nobody waits" in browser.get(address(session, "end/")).content.decode()
    said = browser.post(address(session, "end/"), {"typed": "yes"}, follow=True).content.decode()
    assert "Nothing was done: to confirm" in said
    assert not Event.objects.filter(kind=ending.SESSION_ENDED).exists()
    said = browser.post(address(session, "end/"), {"typed": str(session.pid)}, follow=True).content.decode()
    assert "was told to stop, and has ended" in said
    with pytest.raises(psycopg.OperationalError):
        idle.raw.execute("SELECT 1")
    assert Event.objects.get(kind=ending.SESSION_ENDED).object_id == session.identity


def test_a_cancel_of_another_session_of_that_number_does_not_count(other: Make) -> None:
    session = other("somebody").run("SELECT 1").session()
    assert session.started is not None
    ending.cancel(replace(session, started=session.started - 1), 0)
    assert not ending.was_tried(session)


def test_never_its_own_session(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    own = sessions.of([pid])[pid]
    assert own.own
    browser = client_of("operator")
    assert browser.post(address(own, "cancel/"), {"asked": own.asked}).status_code == 400
    assert browser.post(address(own, "end/"), {"typed": str(pid)}).status_code == 400
    assert ending.cancel(own, own.asked or 0) is Outcome.GONE, "the statement itself leaves it out, too"
    assert "the session of this very page" in browser.get(address(own)).content.decode()


def test_never_what_belongs_to_postgresql(db: None) -> None:
    background = next(one for one in sessions.listed() if one.kind == "checkpointer")
    browser = client_of("operator")
    assert browser.post(address(background, "cancel/"), {"asked": 0}).status_code == 400
    assert browser.post(address(background, "end/"), {"typed": str(background.pid)}).status_code == 400
    assert ending.cancel(background, 0) is Outcome.GONE
    said = browser.get(address(background)).content.decode()
    assert "belongs to PostgreSQL itself" in said
    assert f"Session {background.name} is a process of PostgreSQL itself; it holds up nobody" in said


def test_never_a_replica(db: None) -> None:
    """A replication connection runs as a walsender from its first moment."""
    from django.conf import settings

    where = f"host={settings.ARC_LAYOUT.socket_dir} port=5432 user=arc_replication replication=true"
    password = settings.ARC_LAYOUT.read_secret("replication-password")
    replica = psycopg.pq.PGconn.connect(f"{where} password={password} application_name=standby".encode())
    try:
        session = sessions.of([replica.backend_pid])[replica.backend_pid]
        assert session.kind == "walsender"
        assert client_of("operator").post(address(session, "cancel/"), {"asked": 0}).status_code == 400
        ending._record(ending.CANCEL_TRIED, session)
        assert ending.terminate(session) is Outcome.GONE
        said = client_of("operator").get("/postgres/activity/?kind=replication").content.decode()
        assert "standby" in said
        assert f"Cancel the statement of session {session.pid}" not in said
    finally:
        replica.finish()


def test_who_may_not_is_refused(other: Make) -> None:
    session = other("somebody").run("SELECT 1").session()
    viewer = client_of("viewer")
    said = viewer.get(address(session)).content.decode()
    assert "cancel/" not in said
    assert viewer.post(address(session, "cancel/"), {"asked": session.asked}).status_code == 403
    assert viewer.get(address(session, "end/")).status_code == 403
    assert client_of("").get(address(session)).status_code == 403
    assert client_of("operator").get(address(session, "cancel/")).status_code == 405
    assert client_of("operator").post(address(session, "cancel/"), {"asked": "x"}).status_code == 400


def test_a_superusers_session_is_refused_in_words(db: None) -> None:
    from django.conf import settings

    layout = settings.ARC_LAYOUT
    with psycopg.connect(
        host=str(layout.socket_dir),
        user="postgres",
        dbname=connection.settings_dict["NAME"],
        password=layout.read_secret("postgres-superuser-password"),
        autocommit=False,
    ) as raw:
        raw.execute("SELECT 1")
        session = sessions.of([raw.info.backend_pid])[raw.info.backend_pid]
        ending._record(ending.CANCEL_TRIED, session)
        assert ending.terminate(session) is Outcome.REFUSED
        assert "the session of a superuser" in ending.told(Outcome.REFUSED, session, "end")
        raw.execute("SELECT 1")
