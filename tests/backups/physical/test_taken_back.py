"""A restored cluster that cannot be brought to this version's schema: the one of before is live again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models.signals import pre_migrate

from arcweb import paused
from arcweb.backups import server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import doing, exchange, live, recovery, removing, renames
from arcweb.backups.physical.journal import BROKEN, EXCHANGING, FINISHED, Journal
from arcweb.backups.restore import recovery as killed
from arcweb.embedded import swap
from arcweb.embedded.stack import Stack
from arcweb.embedded.swap import Swap
from tests.backups.physical.conftest import Story, now_of, superuser, switch
from tests.backups.physical.test_point_in_time import ids

ME = {"kind": "system", "id": "", "name": "tests"}


@pytest.fixture
def its_own(here: Stack) -> Iterator[None]:
    """Django's connection is one to the database that goes back, as the settings have it in earnest."""
    before = connections["default"]
    own = connections.create_connection("default")
    own.settings_dict = server.database()
    connections["default"] = own
    try:
        yield
    finally:
        own.close()
        connections["default"] = before


@pytest.fixture
def unmigratable(here: Stack, story: Story) -> Iterator[datetime]:
    """A moment at which a table bears the name of one that the first migration makes."""
    with superuser(here) as connection:
        connection.execute("CREATE TABLE django_content_type (id int)")
        moment = now_of(connection)
        connection.execute("DROP TABLE django_content_type")
        connection.execute("INSERT INTO notes VALUES (800, 'since then')")
    switch(here)
    yield moment
    with superuser(here) as connection:
        connection.execute("DELETE FROM notes WHERE id = 800")


@contextmanager
def before_migrations(act: Callable[[], None]) -> Iterator[None]:
    """Between the renames and the first migration."""

    def acts(**given: Any) -> None:
        act()

    sender = apps.get_app_config("backups")
    pre_migrate.connect(acts, sender=sender)
    try:
        yield
    finally:
        pre_migrate.disconnect(acts, sender=sender)


def test_where_the_schema_cannot_be_brought_forward_the_cluster_of_before_is_live_again(
    here: Stack, unmigratable: datetime, its_own: None
) -> None:
    before = ids(here)
    assert 800 in before
    with pytest.raises(BackupError) as raised:
        doing.restore(unmigratable, ME)
    (journal,) = recovery.journals().all()
    assert ids(here) == before
    assert live.look().running
    assert not paused.is_on(settings.ARC_BACKUP_DIR)
    assert swap.asked(here.layout) is None
    assert (journal.state, journal.is_busy, journal.trouble) == (BROKEN, False, str(raised.value))
    words = 'relation "django_content_type" already exists. So the cluster of before is live again.'
    assert words in journal.trouble
    aside = here.layout.real_servers_dir / journal.undone
    assert str(aside.name) in journal.trouble
    assert aside.is_dir()
    assert not killed.needed(), "nothing tries it again at every start"
    removing.sweep(datetime.now(UTC) + timedelta(days=2))
    assert not aside.exists()


def test_what_was_killed_and_cannot_be_settled_can_be_undone(
    here: Stack, unmigratable: datetime, its_own: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ids(here)

    def kill() -> None:
        raise KeyboardInterrupt

    def fail() -> None:
        raise ValueError("nobody foresaw this")

    with before_migrations(kill), pytest.raises(KeyboardInterrupt):
        doing.restore(unmigratable, ME)
    (journal,) = recovery.journals().all()
    with before_migrations(fail), pytest.raises(BackupError, match="nobody foresaw this"):
        killed.recover()
    assert not paused.is_on(settings.ARC_BACKUP_DIR)
    with pytest.raises(BackupError, match='"django_content_type" already exists'):
        killed.recover()
    assert 800 not in ids(here)
    assert "--undo arc" in doing.sentence(doing.ask_undo(journal.id, ME))
    with pytest.raises(BackupError, match="Another restore is under way"):
        doing.ask_undo(journal.id, ME)
    # The schema of the cluster of before is that of no application at all.
    monkeypatch.setattr(exchange, "_bring_forward", lambda: None)
    undone = doing.take_up(journal.id)
    assert ids(here) == before
    assert (undone.state, undone.is_busy, undone.can_undo) == (FINISHED, False, False)
    assert "the cluster of before is live" in doing.sentence(undone)
    assert not killed.needed()
    shutil.rmtree(here.layout.real_servers_dir / undone.undone)


def test_where_the_cluster_of_before_does_not_start_any_more_it_is_said_where_it_lies(
    here: Stack, unmigratable: datetime, its_own: None
) -> None:
    servers = here.layout.real_servers_dir

    def damage() -> None:
        (journal,) = recovery.journals().all()
        (servers / journal.before / "global" / "pg_control").rename(servers / "control")

    with (
        before_migrations(damage),
        pytest.raises(BackupError, match="The restored cluster is live") as raised,
    ):
        doing.restore(unmigratable, ME)
    (journal,) = recovery.journals().all()
    aside = servers / Swap(journal.id, journal.before, journal.undone).back().old
    try:
        assert 800 not in ids(here)
        assert (journal.state, journal.can_undo, journal.is_busy) == (FINISHED, False, False)
        assert journal.trouble == str(raised.value)
        assert f"The cluster of before is now {aside}, and goes in a day" in doing.sentence(journal)
        assert swap.asked(here.layout) is None
        assert not paused.is_on(settings.ARC_BACKUP_DIR)
        assert not killed.needed()
    finally:
        (servers / "control").rename(aside / "global" / "pg_control")
        aside.rename(servers / journal.before)
        renames.renamed(live.look().stack, Swap(journal.id, journal.before, journal.undone))
        shutil.rmtree(servers / journal.undone)
    assert 800 in ids(here)


def test_what_was_killed_before_it_was_taken_back_is_taken_back_by_no_later_start(
    here: Stack, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People work in what is live by then."""
    monkeypatch.setattr(connections, "close_all", lambda: None)  # the run's own database is migrated
    journal = Journal.begin(story.good.isoformat(), ME)
    journal.state = EXCHANGING
    recovery.journals().write(journal)
    kept = here.layout.real_servers_dir / journal.before
    kept.mkdir(mode=0o700)
    (kept / "PG_VERSION").write_text("18\n")
    swap.ask(here.layout, Swap(journal.id, journal.before, journal.undone))
    try:
        assert "its cluster is live" in killed.recover()[0]
        assert swap.asked(here.layout) is None
    finally:
        swap.withdraw(here.layout)
        shutil.rmtree(kept)
