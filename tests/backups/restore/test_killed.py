"""kill -9 at every point of a restore and of an undo: live is unchanged or completely new, and open."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import RequestFactory
from psycopg import sql

from agents.models import Agent
from arcweb import paused
from arcweb.backups import cards, restore_views, server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.proving import loading as proving
from arcweb.backups.restore import asking, databases, doing, kept, parts, recovery, safety, starting
from arcweb.backups.restore.journal import BROKEN, FINISHED, WAITING, Journal
from arcweb.backups.restore.running import Running, folder
from arcweb.backups.restore.source import of_backup
from arcweb.events.models import Event
from tests.backups.restore.conftest import WHO, Filled, World, full_disk, led_to, new_world, superuser
from tests.backups.restore.test_commands import backup

pytestmark = pytest.mark.django_db(transaction=True)
PREPARING = ["load: before the database", "load: database made", "load: done", "differ: begins"]
BEFORE = [
    "safety: begins",
    "pause: begins",
    "pause: done",
    "carry: before closing",
    "carry: closed",
    "carry: before the commit",
    "carry: committed",
    "exchange: before the renames",
]
AFTER = ["exchange: renamed", "health: checked", "end: told", "end: unpaused"]
LOST = "Agent 1"


class Lasting:
    """One world for all of these tests: what a kill leaves is settled, and serves the next."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.restored: Journal | None = None  # finished, not undone
        self.waiting: Journal | None = None

    def ready(self, kind: str) -> Journal:
        """A restore that waits for its confirmation, or a restore that can be undone."""
        if kind == "undo":
            if self.restored is None:
                waiting = self.ready("restore")
                asking.confirmed(waiting, self.world.live, WHO)
                doing.finish(waiting)
                self.restored, self.waiting = waiting, None
            return self.restored
        if self.waiting is None:
            if self.restored is not None:
                self.world.undo(self.restored)
                self.restored = None
            self.waiting = self.world.prepare()
        return self.waiting


@pytest.fixture(scope="module")
def lasting(
    filled: Filled, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lasting]:
    copies = tmp_path_factory.mktemp("killed") / "copies"
    with django_db_blocker.unblock(), new_world(filled, copies) as world:
        yield Lasting(world)


@pytest.fixture
def at(lasting: Lasting, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lasting]:
    """The copy of live that each attempt takes is that of another test's concern: the one there is serves."""
    settings.ARC_BACKUP_DIR = lasting.world.backups
    monkeypatch.setattr(safety, "take", lasting.world.backup)
    with led_to(lasting.world.live):
        Agent.objects.filter(name=LOST).delete() if lasting.restored is None else None
        yield lasting


def killed(wanted: str, work: Callable[[], Any]) -> None:
    """Do that work in a process that kills itself at that point."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:

            def reached(self: Running, point: str) -> None:
                if point == wanted:
                    os.kill(os.getpid(), signal.SIGKILL)

            Running.reached = reached  # type: ignore[method-assign]
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), (
        f"it was to be killed at {wanted!r}, and ended with {os.waitstatus_to_exitcode(status)}"
    )
    assert os.WTERMSIG(status) == signal.SIGKILL


def can_enter(world: World) -> bool:
    with databases.connected(world.live) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("point", PREPARING)
def test_while_it_is_prepared_live_is_untouched_and_nothing_is_left(at: Lasting, point: str) -> None:
    world, first = at.world, at.world.oid()
    source = of_backup(world.backup())
    journal = asking.restore(source, WHO)
    killed(point, lambda: doing.prepare(journal, source))
    assert recovery.needed()
    assert len(recovery.recover()) == 1
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == BROKEN
    assert "not touched" in found.trouble
    assert found.running_step is None
    assert Event.objects.filter(kind="restore.failed", object_id=journal.id).count() == 1
    with databases.connected(databases.MAINTENANCE) as outside:
        assert databases.named(outside, journal.new) is None
    assert world.oid() == first
    assert can_enter(world)
    assert not recovery.needed()


def test_an_unpacked_dump_goes_with_the_next_start(at: Lasting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an encrypted copy it is the plain text; a part of a copy leaves no journal that would tell."""
    spool, source = at.world.backups / "spool", of_backup(at.world.backup())
    with monkeypatch.context() as dying:
        dying.setattr(proving, "read", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        killed("while it is loaded", lambda: parts.restore_agent(source, "Agent 1", name="another"))
    (left,) = spool.iterdir()
    assert left.read_bytes().startswith(b"PGDMP")
    assert not recovery.needed()
    starting.settle()
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "point"), [*(("restore", one) for one in BEFORE), ("undo", "carry: closed")]
)
def test_before_the_renames_live_is_as_it_was(at: Lasting, kind: str, point: str) -> None:
    world = at.world
    begun = at.ready(kind)
    first, agents = world.oid(), Agent.objects.count()
    if kind == "restore":
        asking.confirmed(begun, world.live, WHO)
        journal = begun
    else:
        journal = asking.undo(begun, WHO)
    told = Event.objects.filter(kind="restore.failed", object_id=journal.id)
    before = told.count()
    killed(point, lambda: doing.finish(journal))

    assert recovery.needed()
    recovery.recover()
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == (WAITING if kind == "restore" else BROKEN)
    assert "as it was before" in found.trouble
    assert found.running_step is None
    assert told.count() == before + 1
    assert world.oid() == first
    assert can_enter(world)
    assert Agent.objects.count() == agents
    assert not paused.is_on(world.backups)
    if kind == "restore":
        at.waiting = found


@pytest.mark.parametrize(
    ("kind", "point"),
    [(kind, one) for one, kind in zip(AFTER, ["restore", "undo"] * 2, strict=True)]
    + [("restore", "health: checked"), ("undo", "end: unpaused")],
)
def test_after_the_renames_it_is_finished(at: Lasting, kind: str, point: str) -> None:
    world = at.world
    begun = at.ready(kind)
    first = world.oid()
    if kind == "restore":
        asking.confirmed(begun, world.live, WHO)
        journal = begun
    else:
        journal = asking.undo(begun, WHO)
    killed(point, lambda: doing.finish(journal))

    assert recovery.needed()
    assert len(recovery.recover()) == 1
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == FINISHED
    assert world.oid() == journal.new_oid != first
    assert can_enter(world)
    assert Agent.objects.filter(name=LOST).exists() == (kind == "restore")
    assert not paused.is_on(world.backups)
    at.waiting, at.restored = None, found if kind == "restore" else None


def test_a_pause_that_nobody_owns_is_ended(at: Lasting) -> None:
    paused.begin(at.world.backups, paused.Pause("", "", ""))
    assert recovery.needed()
    recovery.recover()
    assert not paused.is_on(at.world.backups)


def test_it_waits_while_postgresql_is_away(at: Lasting, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = at.ready("restore")
    asking.confirmed(journal, at.world.live, WHO)
    killed("carry: closed", lambda: doing.finish(journal))
    own = connections["default"].settings_dict
    port = own["PORT"]
    own["PORT"] = "1"
    try:
        with pytest.raises(BackupError, match="cannot be reached"):
            recovery.recover()
    finally:
        own["PORT"] = port
    assert paused.is_on(at.world.backups), "who cannot know how it stands lets nobody in"
    assert recovery.needed()
    with pytest.raises(BackupError, match="not currently accepting connections"):
        server.connect(at.world.live)
    recovery.recover()
    assert can_enter(at.world)
    at.waiting = folder().read(journal.id)


def test_what_cannot_be_settled_keeps_nobody_out_while_live_is_whole(at: Lasting) -> None:
    source = of_backup(at.world.backup())
    journal = asking.restore(source, WHO)
    killed("load: database made", lambda: doing.prepare(journal, source))
    paused.begin(at.world.backups, paused.Pause("", "", ""))
    with superuser(journal.new):  # whom the application's role cannot end
        code, found = backup("recover", "--at-start")
        assert code == 0
        (left,) = found["left"]
        assert left["whole"]
        assert journal.id in left["journal"]
        assert not paused.is_on(at.world.backups), "the pages answer"
        with pytest.raises(BackupError, match=r"Live is whole meanwhile\. Try again: manage\.py"):
            recovery.recover()

        page = RequestFactory().get("/restores/")
        page.user = User(username="x", is_staff=True, is_superuser=True, is_active=True)
        text = restore_views.restores(page).content.decode()
        assert f"the restore {journal.id[:8]} of {journal.file}" in text
        assert left["trouble"] in unescape(text)
        (concern,) = (one for one in cards.look(None).concerns if journal.id[:8] in one.sentence)
        assert concern.state == "bad"
        with folder().locked("a restore"):
            assert cards.look(None).concerns == (), "somebody is at it"
    (said,) = recovery.recover()
    assert said.startswith(f"Dropped what the restore {journal.id[:8]} of")
    assert cards.look(None).concerns == ()


def test_where_live_may_not_be_whole_the_start_ends_and_names_file_and_command(at: Lasting) -> None:
    journal = at.ready("restore")
    asking.confirmed(journal, at.world.live, WHO)
    killed("carry: closed", lambda: doing.finish(journal))
    live = sql.Identifier(at.world.live)
    with superuser() as above:
        above.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(live))
    try:
        code, found = backup("recover", "--at-start")
        assert code == 1
        assert f"The journal is {at.world.backups}/journal/{journal.id}.json." in found["error"]
        assert "then run: manage.py backup recover" in found["error"]
        assert paused.is_on(at.world.backups)
    finally:
        with superuser() as above:
            above.execute(sql.SQL("ALTER DATABASE {} OWNER TO arc").format(live))
    code, found = backup("recover", "--at-start")
    assert (code, found["left"]) == (0, [])
    assert can_enter(at.world)
    at.waiting = folder().read(journal.id)


def test_a_new_database_that_does_not_work_is_settled_by_the_one_of_before(at: Lasting) -> None:
    journal, first = at.ready("restore"), at.world.oid()
    asking.confirmed(journal, at.world.live, WHO)
    killed("exchange: renamed", lambda: doing.finish(journal))
    with superuser(at.world.live) as above:
        above.execute("DROP TABLE jobs_job CASCADE")
    (said,) = recovery.recover()
    assert said.startswith("Undid the restore")
    assert "does not work, so the one of before is live again" in said
    assert at.world.oid() == first
    assert can_enter(at.world)
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == WAITING
    kept.discard(found)
    assert Event.objects.filter(kind="restore.discarded", object_id=journal.id).count() == 1
    with databases.connected(databases.MAINTENANCE) as outside:
        assert databases.named(outside, journal.new) is None
    at.waiting = None


def test_what_was_written_since_the_pages_answer_is_not_taken_away(at: Lasting) -> None:
    world, journal = at.world, at.ready("restore")
    asking.confirmed(journal, world.live, WHO)
    killed("exchange: renamed", lambda: doing.finish(journal))
    with full_disk():
        said, (left,) = recovery.settle()
    assert (said, left.whole) == ([], True)
    assert not paused.is_on(world.backups)
    Agent.objects.create(name="written since", type="assistant")
    connections.close_all()

    def limit(number: int) -> None:
        with superuser() as above:
            above.execute(
                sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(world.live), number)
            )

    limit(0)
    try:
        with pytest.raises(BackupError, match="too many connections for database"):
            recovery.recover()
    finally:
        limit(-1)
    (said_then,) = recovery.recover()
    assert said_then.startswith("Finished the restore")
    assert world.oid() == journal.new_oid
    assert Agent.objects.filter(name="written since").exists()
    at.waiting, at.restored = None, folder().read(journal.id)
