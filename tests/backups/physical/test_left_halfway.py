"""Exchanges of clusters that fail or are killed: before the renames nothing happened, then all of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models.signals import pre_migrate

from arcweb import paused
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import doing, live, recovery
from arcweb.backups.physical.journal import (
    BROKEN,
    CONFIRMED,
    EXCHANGING,
    FINISHED,
    PREPARING,
    WAITING,
    Journal,
)
from arcweb.backups.restore import recovery as killed
from arcweb.embedded import restart, swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import Layout
from arcweb.embedded.restart import Outcome, Restarter
from arcweb.embedded.run_lock import Holder, run_lock
from arcweb.embedded.server_user import ServerUser
from arcweb.embedded.stack import Stack
from arcweb.embedded.swap import Swap
from arcweb.events.actors import SYSTEM
from arcweb.events.models import Event, EventDetail
from tests.backups.physical.conftest import Story, superuser
from tests.backups.physical.test_point_in_time import TABLES, ids, make_accounts

ME = {"kind": "system", "id": "", "name": "tests"}
LATER, EARLIER = ((datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (1, -1))


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Journal]]:
    """How each journal stood when the schema was brought forward. That is done to the run's own database,
    whose sessions stay: it is not the one that goes back."""
    monkeypatch.setattr(connections, "close_all", lambda: None)
    found: list[Journal] = []

    def note(**given: Any) -> None:
        found.extend(recovery.journals().all())

    sender = apps.get_app_config("backups")
    pre_migrate.connect(note, sender=sender)
    yield found
    pre_migrate.disconnect(note, sender=sender)


def begun(story: Story, **values: Any) -> Journal:
    journal = Journal.begin(story.good.isoformat(), ME)
    for name, value in values.items():
        setattr(journal, name, value)
    recovery.journals().write(journal)
    return journal


def again(journal: Journal) -> Journal:
    found = recovery.journals().read(journal.id)
    assert found is not None
    return found


def hollow(stack: Stack, name: str) -> Path:
    """What passes for a cluster until it is started."""
    made = stack.layout.real_servers_dir / name
    made.mkdir(mode=0o700)
    (made / "PG_VERSION").write_text("18\n")
    for path in (made / "PG_VERSION", made):
        stack.user.take(path)
    return made


@pytest.mark.parametrize(("there", "then"), [(True, WAITING), (False, BROKEN)])
def test_an_exchange_that_fails_before_the_renames_leaves_live_and_what_was_prepared(
    here: Stack, story: Story, there: bool, then: str
) -> None:
    before, journal = ids(here), begun(story, state=CONFIRMED)
    made = hollow(here, journal.new) if there else here.layout.real_servers_dir / journal.new
    with pytest.raises(BackupError, match="did not start on the copy" if there else "is no cluster any more"):
        doing.take_up(journal.id)
    found = again(journal)
    assert (found.state, bool(found.finished_at)) == (then, not there)
    assert ("did not start on the copy" in found.trouble) is there
    assert {step.state for step in found.steps} == {"waits"}
    assert not paused.is_on(settings.ARC_BACKUP_DIR)
    assert made.is_dir() is there
    assert ids(here) == before
    shutil.rmtree(made, ignore_errors=True)


def test_what_a_killed_exchange_asked_for_is_not_done_by_a_later_start(here: Stack, story: Story) -> None:
    journal = begun(story, state=EXCHANGING)
    journal.step("carry").state = "done"
    journal.step("exchange").state = "running"
    recovery.journals().write(journal)
    made = hollow(here, journal.new)
    swap.ask(here.layout, Swap(journal.id, journal.new, journal.before))
    try:
        (said,) = killed.recover()
        assert swap.asked(here.layout) is None
    finally:
        swap.withdraw(here.layout)
        shutil.rmtree(made)
    assert said.endswith("was not done: the live cluster is as it was.")
    found = again(journal)
    assert found.state == WAITING, "what was prepared is still there"
    assert {step.state for step in found.steps} == {"waits"}


def test_what_a_killed_undo_asked_for_is_not_done_by_a_later_start(here: Stack, story: Story) -> None:
    journal = begun(story, state=FINISHED, keep_until=LATER, undoing=EARLIER)
    kept = hollow(here, journal.before)
    swap.ask(here.layout, Swap(journal.id, journal.before, journal.undone))
    try:
        (said,) = killed.recover()
        assert swap.asked(here.layout) is None
    finally:
        swap.withdraw(here.layout)
        shutil.rmtree(kept)
    assert "was not undone" in said
    assert again(journal).can_undo


def test_a_killed_exchange_whose_renames_were_done_is_finished(
    here: Stack, story: Story, migrated: list[Journal]
) -> None:
    journal = begun(story, state=EXCHANGING, confirmed_by=ME | {"name": "who confirmed"})
    kept = here.layout.real_servers_dir / journal.before
    kept.mkdir()
    try:
        said = killed.recover()
    finally:
        kept.rmdir()
    assert said == [f"Finished the restore to {journal.target}: its cluster is live."]
    assert [one.state for one in migrated] == [EXCHANGING]
    found = again(journal)
    assert (found.state, found.can_undo, found.trouble) == (FINISHED, True, "")
    told = Event.objects.get(kind="restore.time-swapped", object_id=journal.id)
    assert EventDetail.objects.get(event_id=told.id).actor_name == "who confirmed"


def test_what_a_killed_preparation_made_goes(here: Stack, story: Story) -> None:
    journal = begun(story, state=PREPARING)
    made = hollow(here, journal.new)
    (said,) = killed.recover()
    assert said.endswith("The live cluster was not touched.")
    assert not made.exists()
    found = again(journal)
    assert (found.state, found.trouble, bool(found.finished_at)) == (BROKEN, said, True)


def test_one_that_cannot_be_settled_says_why_and_keeps_no_other_from_it(here: Stack, story: Story) -> None:
    other = begun(story, state=EXCHANGING, created_at="2026-01-01T00:00:00+00:00")
    stuck = begun(story, state=PREPARING, new="postgres")
    words = "'postgres' is no folder of a restore."
    with pytest.raises(BackupError, match=words):
        killed.recover()
    assert (again(stuck).state, again(stuck).trouble) == (PREPARING, words)
    assert again(other).state == BROKEN
    stuck.new = f"postgres.restored-{stuck.id[:8]}"
    recovery.journals().write(stuck)
    killed.recover()
    assert again(stuck).state == BROKEN


def test_an_undo_that_waited_until_its_day_was_over_is_not_begun(here: Stack, story: Story) -> None:
    journal = begun(story, state=FINISHED, keep_until=EARLIER, undo_asked=True)
    with pytest.raises(BackupError, match=r"cannot be undone: the cluster of before is gone"):
        doing.take_up(journal.id)
    found = again(journal)
    assert (found.is_busy, found.trouble) == (False, "")
    assert not paused.is_on(settings.ARC_BACKUP_DIR)


def test_what_fails_after_the_renames_is_finished_by_the_next_that_looks(
    here: Stack, story: Story, migrated: list[Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There and back, both times killed while the schema is brought forward. The `make run` that was asked to
    do the renames ends instead, and so this process does them; on the way back another one does."""
    before = ids(here)
    make_accounts(here)
    makers: list[Restarter] = []
    done: list[Outcome | None] = []
    runs, ask = ExitStack(), restart.ask
    faults = [KeyboardInterrupt(), None, BackupError("Killed on the way back."), None]
    seen: list[tuple[str, bool, bool]] = []

    def answered(*given: Any) -> None:
        ask(*given)
        done.extend(one.look() for one in makers)
        if not makers:
            runs.close()

    def fail(**given: Any) -> None:
        (one,) = recovery.journals().all()
        seen.append((one.state, bool(one.undoing), paused.is_on(settings.ARC_BACKUP_DIR)))
        if fault := faults.pop(0):
            raise fault

    monkeypatch.setattr(restart, "ask", answered)
    sender = apps.get_app_config("events")
    pre_migrate.connect(fail, sender=sender)
    try:
        with runs:
            runs.enter_context(run_lock(here.layout, Holder(os.getpid(), "")))
            with pytest.raises(KeyboardInterrupt):
                doing.restore(story.good, ME)
            (journal,) = recovery.journals().all()
            assert (journal.state, journal.trouble) == (EXCHANGING, "It was interrupted.")
            assert ids(here) == [501, 502, 503]
            assert killed.recover() == [f"Finished the restore to {journal.target}: its cluster is live."]
            assert again(journal).can_undo

            makers.append(Restarter(here.layout, here.postgres, lambda words: None))
            runs.enter_context(run_lock(here.layout, Holder(os.getpid(), "")))
            with pytest.raises(BackupError, match="Killed on the way back"):
                doing.undo(journal.id, SYSTEM)
            assert (again(journal).is_busy, again(journal).trouble) == (True, "Killed on the way back.")
            assert ids(here) == before
            (said,) = killed.recover()
    finally:
        pre_migrate.disconnect(fail, sender=sender)
        with superuser(here) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {', '.join(TABLES)} CASCADE")
    assert "the cluster of before is live" in said
    assert (again(journal).is_busy, bool(again(journal).undone_at)) == (False, True)
    assert [one and one.well for one in done] == [True]
    assert seen == [
        (state, undoing, paused_)
        for state, undoing in ((EXCHANGING, False), (FINISHED, True))
        for paused_ in (True, False)
    ]
    assert live.look().running
    shutil.rmtree(here.layout.real_servers_dir / journal.undone)


def folders(folder: Path, *names: str) -> Layout:
    """The folder of clusters of a stack that has no server."""
    layout = Layout(folder / "data")
    layout.run_dir.mkdir(parents=True)
    for name in names:
        (layout.servers_dir / name).mkdir(parents=True)
        (layout.servers_dir / name / "PG_VERSION").write_text("18\n")
    return layout


def test_what_cannot_be_exchanged_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    wanted = Swap("i", "postgres.restored-0123abcd", "postgres.before-0123abcd")
    user = ServerUser("this user", os.getuid(), os.getgid())
    layout = folders(tmp_path, "postgres", wanted.new)
    servers = layout.servers_dir
    (servers / wanted.new / "PG_VERSION").unlink()
    with pytest.raises(EmbeddedError, match=f"{wanted.new} is no cluster"):
        swap.ask(layout, wanted)
    assert swap.asked(layout) is None
    (servers / wanted.new / "PG_VERSION").write_text("18\n")
    swap.ask(layout, wanted)

    (servers / wanted.old).mkdir()
    with pytest.raises(EmbeddedError, match=f"has both postgres and {wanted.old}"):
        swap.finish(layout, user)
    assert {path.name for path in servers.iterdir()} == {"postgres", wanted.new, wanted.old}
    for name in ("postgres", wanted.old, wanted.new):
        shutil.rmtree(servers / name)
    with pytest.raises(EmbeddedError, match=f"has neither postgres nor {wanted.new}"):
        swap.finish(layout, user)
    assert swap.done(layout) is None
    (layout.run_dir / swap.ASKED).write_text("{")
    with pytest.raises(EmbeddedError, match="cannot be read"):
        swap.finish(layout, user)
