"""Back to a chosen time: prepared beside the live cluster, looked at, exchanged, undone; killed halfway."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db.migrations.recorder import MigrationRecorder

from arcweb import paused
from arcweb.accounts.models import UserSession
from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup
from arcweb.backups.physical import (
    archive,
    by_hand,
    carrying,
    chain,
    doing,
    exchange,
    live,
    recovery,
    removing,
    renames,
    replication,
    timeline,
)
from arcweb.backups.physical.journal import ASKED, BROKEN, CONFIRMED, EXCHANGING, FINISHED, WAITING, Journal
from arcweb.backups.restore import recovery as killed
from arcweb.backups.restore.carry import carry_over
from arcweb.embedded import swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.restart import Restarter
from arcweb.embedded.restart import ask as ask_restart
from arcweb.embedded.server_user import ServerUser
from arcweb.embedded.stack import Stack
from arcweb.embedded.swap import Swap
from arcweb.events.actors import SYSTEM
from arcweb.events.models import Event, EventDetail
from tests.backups.physical.conftest import Story, now_of, superuser, switch, take

USER = ServerUser("this user", os.getuid(), os.getgid())
ME = {"kind": "system", "id": "", "name": "tests"}


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run's own database is not the one that goes back: it is not migrated, and its sessions stay."""
    done: list[str] = []
    monkeypatch.setattr(exchange, "_bring_forward", lambda: done.append("migrated"))
    monkeypatch.setattr(renames, "let_go", lambda: None)
    return done


def ids(stack: Stack) -> list[int]:
    with superuser(stack) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM notes WHERE id > 500 ORDER BY id")]


MODELS = (ContentType, Permission, Group, User, Session, UserSession, MigrationRecorder.Migration)
THROUGH = [field.remote_field.through for model in MODELS for field in model._meta.local_many_to_many]
TABLES = [f'"{model._meta.db_table}"' for model in (*MODELS, *THROUGH)]


def make_accounts(stack: Stack) -> None:
    """Two people and a session, as migrations would have made their tables."""
    from django.db import connection as own

    with own.schema_editor(collect_sql=True, atomic=False) as editor:
        for model in MODELS:
            editor.create_model(model)
        statements = [line for line in editor.collected_sql if not line.startswith("--")]
    statements += map(str, editor.deferred_sql)
    with superuser(stack) as connection:
        connection.execute("SET ROLE arc")
        for statement in statements:
            connection.execute(statement)
        for name in ("anna", "bert"):
            connection.execute(
                "INSERT INTO auth_user (username, password, is_active, is_staff, is_superuser, first_name, "
                "last_name, email, date_joined) "
                "VALUES (%s, 'old', true, true, false, '', '', '', '2026-01-01')",
                [name],
            )
        connection.execute(
            "INSERT INTO accounts_usersession (key_hash, user_id, created_at, last_seen_at, user_agent, "
            "ended_reason) VALUES ('of then', 1, now(), now(), '', '')"
        )
        connection.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('contenttypes', '0001_initial', "
            "'2026-01-01')"
        )


def people(stack: Stack) -> list[tuple[Any, ...]]:
    with superuser(stack) as connection:
        return connection.execute(
            "SELECT username, password, is_active FROM auth_user ORDER BY username"
        ).fetchall()


def sessions(stack: Stack) -> list[tuple[Any, ...]]:
    """Those that have ended, and why."""
    with superuser(stack) as connection:
        return connection.execute(
            "SELECT key_hash, ended_reason FROM accounts_usersession WHERE ended_at IS NOT NULL ORDER BY 1"
        ).fetchall()


def count(stack: Stack) -> int:
    with superuser(stack) as connection:
        row = connection.execute("SELECT count(*) FROM notes").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def prepared(moment: datetime) -> Iterator[Journal]:
    journal = Journal.begin(moment.astimezone(UTC).isoformat(), ME)
    with recovery.journals().folder.locked(journal.id):
        recovery.prepare(journal)
        yield journal


def test_the_picture_reaches_from_the_first_backup_to_the_last_archived_file(
    here: Stack, story: Story
) -> None:
    picture = timeline.look()
    assert picture.trouble == ""
    assert [one.point.format for one in picture.stretches] == ["base", "incremental"]
    assert len(picture.spans()) == 1
    assert picture.first is not None
    assert picture.last is not None
    assert picture.first < story.between < story.good < picture.last
    # Between the two, only the whole one can be begun with.
    assert picture.best(story.between).point.format == "base"  # type: ignore[union-attr]
    assert picture.best(story.good).point.format == "incremental"  # type: ignore[union-attr]
    assert picture.best(picture.first - timedelta(seconds=1)) is None


def test_a_missing_file_of_the_log_is_a_gap_that_is_named(here: Stack, story: Story) -> None:
    switch(here)
    newest = switch(here)
    seen = archive.look()
    gone = max(one for one in seen.times if one.name() < newest)
    path = archive.path_of(seen, gone)
    assert path is not None
    aside = path.rename(path.with_name("aside"))
    try:
        picture = timeline.look(timeline=live.look().timeline)  # other tests began others
        assert picture.stretches[-1].missing == gone.name()
        assert picture.holes == [gone.name()]
        assert picture.last is not None
        with pytest.raises(
            BackupError, match=rf"cannot be reached\. What can: .* The archive lacks {gone.name()}"
        ):
            recovery.choose(datetime.now(UTC), live.look())
    finally:
        aside.rename(path)


def test_a_damaged_file_of_the_log_ends_the_recovery_in_words_and_live_is_as_it_was(
    here: Stack, story: Story
) -> None:
    with superuser(here) as connection:
        connection.execute("INSERT INTO notes VALUES (600, 'in the damaged file')")
        late = now_of(connection)
        connection.execute("DELETE FROM notes WHERE id = 600")
    name = switch(here)
    path = here.layout.real_servers_dir / "wal-archive" / f"{name}.gz"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(BackupError, match=r"ends before|did not start"), prepared(late):
            pass
    finally:
        path.write_bytes(whole)
    journal = recovery.journals().all()[0]
    assert journal.state == BROKEN
    assert journal.step("recover").state == "failed"
    assert not (here.layout.real_servers_dir / journal.new).exists()
    assert 600 not in ids(here)


def test_the_whole_way_there_and_back(
    here: Stack, story: Story, outside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, begins = (ids(here), count(here)), archive.look().newest_timeline + 1
    make_accounts(here)
    limits: list[Any] = []

    def carry(old: Any, new: Any, *arguments: Any, **options: Any) -> list[str]:
        names = "current_setting('idle_in_transaction_session_timeout'), current_setting('search_path')"
        limits.extend(one.execute(f"SELECT {names}").fetchone() for one in (old, new))
        return carry_over(old, new, *arguments, **options)

    monkeypatch.setattr(carrying, "carry_over", carry)
    with superuser(here) as connection:
        connection.execute("ALTER ROLE arc SET search_path = 'elsewhere'")
    with prepared(story.good) as journal:
        assert journal.state == WAITING
        assert [step.state for step in journal.steps[:5]] == ["done"] * 5
        assert journal.copies == [story.whole.file.name, story.incremental.file.name]
        assert {"table": "public.notes", "live": before[1], "new": 503} in journal.tables
        assert (ids(here), count(here)) == before  # live goes on meanwhile
        journal.confirmed_by = ME
        exchange.exchange(journal)
    assert limits == [("0", "public")] * 2, "those of role and database do not count"
    assert (journal.state, outside) == (FINISHED, ["migrated"])
    assert ids(here) == [501, 502, 503]
    assert count(here) == 503
    assert not (settings.ARC_BACKUP_DIR / "journal" / "paused").exists()
    told = Event.objects.get(kind="restore.time-swapped", object_id=journal.id)
    assert told.data["copies"] == journal.copies
    assert EventDetail.objects.get(event_id=told.id).actor_name == ME["name"]
    with superuser(here) as connection:  # the application's passwords are those of today
        assert connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone() == (begins,)
    # The new timeline reaches the archive, its history first: its number is not given again.
    switch(here)
    assert archive.look().newest_timeline == begins
    with replication.connected() as line:
        steps = replication.descent(line, line.identify().timeline)
    assert [step.timeline for step in steps] == [1, begins]
    newest = chain.newest(chain.known(), story.whole.physical["system"], steps)
    assert newest is not None
    assert newest.id == story.incremental.id
    assert Backup.objects.filter(state="hashed").exists()
    erased: list[tuple[int, dict[str, Any]]] = []

    def erase(connection: Any, what: dict[str, Any]) -> int:
        timeline = connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()
        erased.append((timeline[0], what))
        return 0

    monkeypatch.setitem(erasures._erasers, "note", ("a note", erase))
    erasures.order(settings.ARC_BACKUP_DIR, "note", {"id": 1})
    # Since then, in what is live now: a new password, a deactivation, a session.
    make_accounts(here)
    with superuser(here) as connection:
        connection.execute("UPDATE auth_user SET password = 'new', is_active = (username = 'anna')")
        connection.execute("UPDATE accounts_usersession SET key_hash = 'of now'")
    undone = doing.undo(journal.id, SYSTEM)
    assert people(here) == [("anna", "new", True), ("bert", "new", False)]
    assert sessions(here) == [("of now", "restored"), ("of then", "restored")]
    with superuser(here) as connection:
        connection.execute(f"DROP TABLE {', '.join(TABLES)} CASCADE")
        connection.execute("ALTER ROLE arc RESET search_path")
    assert any("Accounts are as they were live" in said for said in undone.facts["undo"])
    assert not undone.undoing
    assert not paused.is_on(settings.ARC_BACKUP_DIR)
    assert Event.objects.filter(kind="restore.time-undone", object_id=journal.id).count() == 1
    (settings.ARC_BACKUP_DIR / erasures.NAME).unlink()
    assert erased == [(1, {"id": 1})], "what was erased since the restore goes from the cluster of before"
    assert (ids(here), count(here)) == before
    assert not undone.can_undo
    assert doing.sentence(undone).endswith("The restored one is kept for a day.")
    # Whatever the cluster of before wrote while it was carried into was summarised.
    assert take("incremental", settings.ARC_BACKUP_DIR).parent == story.incremental.id
    # A day later nothing of it is left.
    removing.sweep(datetime.now(UTC) + timedelta(days=2))
    left = [path.name for path in here.layout.real_servers_dir.iterdir() if path.name.startswith("postgres")]
    assert left == ["postgres"]


def test_a_stopped_server_goes_back_too_with_what_it_had_not_archived(
    here: Stack, story: Story, outside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_accounts(here)
    with superuser(here) as connection:
        connection.execute("INSERT INTO notes VALUES (700, 'in pg_wal alone')")
        late = now_of(connection)
    ran = live.look()
    here.postgres.stop(lambda words: None, kill=True)
    here.postgres.child = None
    try:
        stopped = live.look()
        assert (stopped.system, stopped.timeline) == (ran.system, ran.timeline)
        with pytest.raises(BackupError, match="cannot be reached"):  # its own log leads on, and not back
            recovery.choose(story.whole.taken_at - timedelta(days=1), live.look())
        journal = doing.restore(late, ME)
        assert journal.step("log").state == "skipped"
        assert journal.step("carry").state == "skipped"
        assert journal.step("carry").sentence.startswith(carrying.UNREAD)
        assert not live.look().running  # as it was before
        here.start()
        assert 700 in ids(here)
        assert sessions(here) == [("of then", "restored")]
        here.postgres.stop(lambda words: None)
        undone = doing.undo(journal.id, SYSTEM)
        assert not live.look().running
    finally:
        here.start()
    assert undone.facts["undo"][0] == carrying.UNREAD
    assert doing.sentence(undone).endswith(carrying.UNREAD)
    # Nothing is known of whom live has shut out since: nobody goes on where he was.
    assert sessions(here) == [("of then", "restored")]
    with superuser(here) as connection:
        connection.execute(f"DROP TABLE {', '.join(TABLES)} CASCADE")


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_killed_between_the_renames_the_next_start_has_one_cluster_or_the_other(
    killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With folders in place of clusters: what counts is which of them bears the name."""
    stack = fake_stack(tmp_path)
    wanted = Swap("i", "postgres.restored-0123abcd", "postgres.before-0123abcd")
    swap.ask(stack.layout, wanted)
    steps: list[Any] = []

    def rename(*arguments: Any, **options: Any) -> None:
        if len(steps) == killed_after:
            raise KeyboardInterrupt
        steps.append(arguments)
        real(*arguments, **options)

    real = os.rename
    monkeypatch.setattr(os, "rename", rename)
    if killed_after < 2:
        with pytest.raises(KeyboardInterrupt):
            swap.finish(stack.layout, USER)
    monkeypatch.undo()
    assert swap.finish(stack.layout, USER) == wanted
    assert swap.finish(stack.layout, USER) is None
    servers = stack.layout.real_servers_dir
    assert (servers / "postgres" / "name").read_text() == "new"
    assert (servers / wanted.old / "name").read_text() == "live"
    assert not (servers / "initialised").exists()


def test_killed_after_the_renames_the_next_start_knows_that_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = fake_stack(tmp_path)
    wanted = Swap("i", "postgres.restored-0123abcd", "postgres.before-0123abcd")
    swap.ask(stack.layout, wanted)

    def killed(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(swap, "write_private", killed)
        with pytest.raises(KeyboardInterrupt):
            swap.finish(stack.layout, USER)
    assert swap.done(stack.layout) is None
    assert swap.finish(stack.layout, USER) == wanted
    assert swap.done(stack.layout).swap == wanted  # type: ignore[union-attr]


def test_where_the_new_cluster_is_gone_nothing_was_exchanged_and_live_starts(tmp_path: Path) -> None:
    stack = fake_stack(tmp_path)
    wanted = Swap("i", "postgres.restored-0123abcd", "postgres.before-0123abcd")
    swap.ask(stack.layout, wanted)
    shutil.rmtree(stack.layout.servers_dir / wanted.new)
    assert swap.finish(stack.layout, USER) is None
    assert swap.done(stack.layout) is None
    assert swap.asked(stack.layout) is None, "no later start does it unasked"
    assert (stack.layout.servers_dir / "postgres" / "name").read_text() == "live"


def test_an_exchange_for_a_cluster_that_is_gone_is_no_success(
    here: Stack, story: Story, outside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, new = ids(here), here.layout.real_servers_dir / "postgres.restored-0badc0de"
    wanted = Swap("i", new.name, "postgres.before-0badc0de")

    def make() -> None:
        new.mkdir(mode=0o700)
        (new / "PG_VERSION").write_text("18\n")

    restarter = Restarter(here.layout, here.postgres, lambda words: None)
    make()
    swap.ask(here.layout, wanted)
    ask_restart(here.layout, "a test")
    shutil.rmtree(new)
    outcome = restarter.look()
    assert outcome is not None
    assert new.name not in outcome.sentence

    real = renames._here

    def without(stack: Stack) -> None:
        shutil.rmtree(new)
        real(stack)

    monkeypatch.setattr(renames, "_here", without)
    make()
    with pytest.raises(BackupError, match=r"Nothing was exchanged, for postgres\.restored-0badc0de is no"):
        renames.renamed(here, wanted)
    assert ids(here) == before


def fake_stack(folder: Path) -> Stack:
    from arcweb.embedded.layout import Layout

    stack = Stack(Layout(folder / "data"))
    stack.layout.run_dir.mkdir(parents=True)
    servers = stack.layout.servers_dir
    for name, text in (("postgres", "live"), ("postgres.restored-0123abcd", "new")):
        (servers / name).mkdir(parents=True)
        (servers / name / "name").write_text(text)
        (servers / name / "PG_VERSION").write_text("18\n")
    (servers / "initialised").write_text("x")
    return stack


def test_only_folders_of_a_restore_are_exchanged(tmp_path: Path) -> None:
    stack = fake_stack(tmp_path)
    with pytest.raises(EmbeddedError, match="is no folder of a restore"):
        swap.ask(stack.layout, Swap("i", "../elsewhere", "postgres.before-0123abcd"))
    (stack.layout.run_dir / swap.ASKED).write_text(json.dumps({"id": "i", "new": "..", "old": "x"}))
    with pytest.raises(EmbeddedError, match="names other folders"):
        swap.finish(stack.layout, USER)


def test_a_cluster_that_does_not_start_is_taken_back_by_make_run(here: Stack, story: Story) -> None:
    servers = here.layout.real_servers_dir
    broken = servers / "postgres.restored-0badc0de"
    broken.mkdir(mode=0o700)
    (broken / "PG_VERSION").write_text("18\n")
    for path in (broken / "PG_VERSION", broken):
        here.user.take(path)
    before = ids(here)
    swap.ask(here.layout, Swap("i", broken.name, "postgres.before-0badc0de"))
    restarter = Restarter(here.layout, here.postgres, lambda words: None)
    ask_restart(here.layout, "a test")
    outcome = restarter.look()
    assert outcome is not None
    assert not outcome.well
    assert "the cluster that was live before is live again" in outcome.sentence
    assert ids(here) == before
    assert (servers / "postgres.failed-0badc0de").is_dir()


def test_an_undo_whose_cluster_does_not_start_says_what_is_live_and_where_the_other_is(
    here: Stack, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    journal = begun(story, state=FINISHED, keep_until=day)
    servers, before = here.layout.real_servers_dir, ids(here)
    with pytest.raises(BackupError, match=rf"{journal.before} is no cluster any more"):
        doing.undo(journal.id, SYSTEM)
    assert recovery.journals().read(journal.id).can_undo  # type: ignore[union-attr]
    assert not paused.is_on(settings.ARC_BACKUP_DIR)

    kept = servers / journal.before
    kept.mkdir(mode=0o700)
    (kept / "PG_VERSION").write_text("18\n")
    for path in (kept / "PG_VERSION", kept):
        here.user.take(path)
    monkeypatch.setattr(carrying, "carry", lambda *arguments: [])
    aside = servers / f"postgres.failed-{journal.id[:8]}"
    with pytest.raises(BackupError) as raised:
        doing.undo(journal.id, SYSTEM)
    assert f"did not start on {journal.before}" in str(raised.value)
    assert "the cluster that was live before is live again" in str(raised.value)
    assert f"The cluster of before is now {aside}" in str(raised.value)
    assert ids(here) == before
    found = recovery.journals().read(journal.id)
    assert found is not None
    assert (found.can_undo, found.is_busy, found.trouble) == (False, False, str(raised.value))
    assert str(aside) in doing.sentence(found)
    assert removing.sweep() == []
    assert aside.is_dir()
    with pytest.raises(BackupError, match="can be undone"):
        doing.undo(journal.id, SYSTEM)
    # Killed where the renames were taken back: it is found out by whoever looks next.
    found.undoing, found.dropped_at, found.trouble = day, "", ""
    recovery.journals().write(found)
    killed.recover()
    again = recovery.journals().read(journal.id)
    assert again is not None
    assert (again.can_undo, str(aside) in again.trouble) == (False, True)
    shutil.rmtree(aside)


def test_a_killed_exchange_is_settled_by_the_next_one_that_looks(here: Stack, story: Story) -> None:
    journal = Journal.begin(story.good.isoformat(), ME)
    journal.state = EXCHANGING
    journal.step("exchange").state = "running"
    recovery.journals().write(journal)
    (said,) = doing.tidy()
    assert "the live cluster is as it was" in said
    found = recovery.journals().read(journal.id)
    assert found is not None
    assert found.state == BROKEN  # what was prepared is not there


def begun(story: Story, **values: Any) -> Journal:
    journal = Journal.begin(story.good.isoformat(), ME)
    for name, value in values.items():
        setattr(journal, name, value)
    recovery.journals().write(journal)
    return journal


def test_a_start_settles_a_killed_exchange_before_it_lets_anybody_in(
    here: Stack, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(story, state=EXCHANGING)
    paused.begin(settings.ARC_BACKUP_DIR, paused.Pause(journal.id, "", ""))
    put_back, seen = exchange._put_back, []

    def noted(*arguments: Any) -> None:
        seen.append(paused.is_on(settings.ARC_BACKUP_DIR))
        put_back(*arguments)

    monkeypatch.setattr(exchange, "_put_back", noted)
    assert killed.needed()
    (said,) = killed.recover()
    assert "the live cluster is as it was" in said
    assert seen == [True]
    assert not paused.is_on(settings.ARC_BACKUP_DIR)
    assert not killed.needed()


def test_a_killed_undo_is_taken_back_or_finished(here: Stack, story: Story, outside: list[str]) -> None:
    servers, day = here.layout.real_servers_dir, (datetime.now(UTC) + timedelta(days=1)).isoformat()
    journal = begun(story, state=FINISHED, keep_until=day, undoing=day)
    assert killed.recover() == [
        f"The restore to {journal.target} was not undone: the restored cluster is live as it was."
    ]
    found = recovery.journals().read(journal.id)
    assert found is not None
    assert (found.undoing, found.undone_at, found.can_undo) == ("", "", True)

    journal = begun(story, state=FINISHED, keep_until=day, undoing=day)
    (servers / journal.undone).mkdir()
    try:
        assert "the cluster of before is live" in killed.recover()[0]
    finally:
        (servers / journal.undone).rmdir()
    found = recovery.journals().read(journal.id)
    assert found is not None
    assert found.undone_at
    assert not found.is_busy
    assert outside == ["migrated"]


def test_what_was_asked_for_waits_for_its_process_and_not_for_ever(here: Stack, story: Story) -> None:
    """The journal was prepared hours ago; that it was confirmed just now is what counts."""
    old = "2026-01-01T00:00:00+00:00"
    asked = begun(story, state=CONFIRMED, created_at=old)
    assert doing.tidy() == []
    assert recovery.journals().read(asked.id).state == CONFIRMED  # type: ignore[union-attr]
    words = "No process took it up in time. Start it again."
    path = recovery.journals().path_of(asked)
    os.utime(path, (0, 0))
    doing.tidy()
    found = recovery.journals().read(asked.id)
    assert found is not None
    assert (found.state, found.trouble) == (WAITING, words)


@pytest.mark.parametrize(
    ("values", "then"),
    [
        ({"state": CONFIRMED}, WAITING),
        ({"state": ASKED}, BROKEN),
        ({"state": FINISHED, "undo_asked": True}, FINISHED),
    ],
)
def test_a_process_that_comes_hours_late_does_nothing(
    here: Stack, story: Story, values: dict[str, Any], then: str
) -> None:
    """Workers come back before anybody has tidied up."""
    asked = begun(story, **values)
    os.utime(recovery.journals().path_of(asked), (0, 0))
    with pytest.raises(BackupError, match="No process took it up in time"):
        doing.take_up(asked.id)
    found = recovery.journals().read(asked.id)
    assert found is not None
    assert (found.state, found.is_busy) == (then, False)
    assert [step.name for step in found.steps if step.state != "waits"] == []


def test_the_wrong_name_and_a_time_to_come_are_refused(here: Stack, story: Story) -> None:
    with pytest.raises(BackupError, match="The live database is 'arc', not 'ark'"):
        doing.refuse_mistyped("ark")
    with pytest.raises(BackupError, match="lies in the future"):
        recovery.choose(datetime.now(UTC) + timedelta(hours=1), live.look())
    # Of a server that runs the rest of the log is no file yet.
    with pytest.raises(BackupError, match="cannot be reached"):
        recovery.choose(datetime.now(UTC), live.look())


def test_a_base_backup_that_was_not_made_here_is_not_started(here: Stack, story: Story) -> None:
    items = chain.known()
    recovery.refuse_strangers(list(items.values()))
    stranger = replace(items[story.whole.id], manifest=replace(story.whole, notes=["changed"]))
    with pytest.raises(BackupError, match="does not bear this installation's seal"):
        recovery.refuse_strangers([stranger])


def test_the_commands_by_hand_name_every_file_and_the_time(here: Stack, story: Story) -> None:
    lines = by_hand.commands(timeline.look(), story.good)
    text = "\n".join(lines)
    assert text.index(story.whole.file.name) < text.index(story.incremental.file.name)
    assert f"recovery_target_time = '{story.good.astimezone(UTC).isoformat(sep=' ')}'" in lines
    assert "pg_combinebackup part0 part1 -o restored" in lines
    # The path has quotes and a percent sign, for the shell, PostgreSQL and its file.
    setting = next(line for line in lines if line.startswith("restore_command"))
    assert "50%%p" in setting
    assert re.search(r"[^']'[^']", setting.removeprefix("restore_command = '")[:-1]) is None


def test_pruning_keeps_what_the_oldest_backup_needs_and_what_is_young(here: Stack, story: Story) -> None:
    assert archive.prune().files == 0  # everything is younger than a day
    later = datetime.now(UTC) + timedelta(days=2)
    first = story.whole.physical["first_segment"]
    archive.prune(now=later)
    names = sorted(one.name() for one in archive.look().times)
    assert first in names
    assert names[0] >= first
    # Weeks later moments are reached from the newest backup on; an older one holds its own moment alone.
    assert settings.ARC_WAL_DAYS == 14
    archive.prune(now=datetime.now(UTC) + timedelta(days=13))
    assert first in {one.name() for one in archive.look().times}
    for state in ("hashed", "bad"):
        Backup.objects.filter(pk=story.incremental.id).update(state=state)
        archive.prune(now=datetime.now(UTC) + timedelta(days=15))
        assert first in {one.name() for one in archive.look().times}, "the proven one begins there"
    incremental = Backup.objects.filter(pk=story.incremental.id)
    incremental.update(state="verified", verified_at=later, owner="elsewhere")
    archive.prune(now=datetime.now(UTC) + timedelta(days=15))
    assert first in {one.name() for one in archive.look().times}, "a copy of others begins none of our log"
    incremental.update(owner="")
    archive.prune(now=datetime.now(UTC) + timedelta(days=13))
    assert first in {one.name() for one in archive.look().times}, "moments of 13 days ago are reached from it"
    running = Backup.objects.create(source="postgres", format="base", state="running")
    archive.prune(now=datetime.now(UTC) + timedelta(days=15))
    assert first in {one.name() for one in archive.look().times}, "nobody knows what the running one needs"
    running.delete()
    archive.prune(now=datetime.now(UTC) + timedelta(days=15))
    newest = story.incremental.physical["first_segment"]
    assert newest > first
    assert min(one.name() for one in archive.look().times) >= newest
