"""What cannot be restored, and what fails on the way: live is as it was, open, and nothing is left."""

from __future__ import annotations

import gzip
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql

from agents.models import Agent
from arcweb import paused
from arcweb.backups import server, streams, taking
from arcweb.backups.exceptions import BackupError, CorruptCopy, LockedOut, SpaceError
from arcweb.backups.models import Backup
from arcweb.backups.proving import loading as proving
from arcweb.backups.restore import asking, databases, doing, exchange, kept, loading, parts, safety
from arcweb.backups.restore.journal import BROKEN, FINISHED, WAITING, WAITS
from arcweb.backups.restore.running import folder
from arcweb.backups.restore.source import Source, find, of_backup
from arcweb.events.models import Event
from tests.backups.restore.conftest import WHO, World, superuser
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def refused(world: World, source: Source, match: str, error: type[BackupError] = BackupError) -> None:
    """It fails with those words, live is as it was, and of the new database nothing is left."""
    first, agents = world.oid(), Agent.objects.count()
    journal = asking.restore(source, WHO)
    with pytest.raises(error, match=match):
        doing.prepare(journal, source)
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == BROKEN
    assert found.trouble
    assert Event.objects.filter(kind="restore.failed", object_id=journal.id).count() == 1
    with databases.connected(databases.MAINTENANCE) as outside:
        assert databases.named(outside, journal.new) is None
    assert world.oid() == first
    assert Agent.objects.count() == agents


@contextmanager
def role(world: World, name: str, words: str, *, owns: bool) -> Iterator[None]:
    """Inside, Django logs in as a new role of those rights."""
    own = connections["default"].settings_dict
    kept = own["USER"], own["PASSWORD"]
    with superuser() as above:
        above.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret' {}").format(sql.Identifier(name), sql.SQL(words))
        )
        if owns:
            above.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(world.live), sql.Identifier(name)
                )
            )
    connections["default"].close()
    own["USER"], own["PASSWORD"] = name, "secret"
    try:
        yield
    finally:
        connections["default"].close()
        own["USER"], own["PASSWORD"] = kept
        with superuser() as above:
            above.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(world.live), sql.Identifier(kept[0])
                )
            )
            above.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_without_the_right_to_make_databases_the_grant_is_named(world: World) -> None:
    source, journal = of_backup(world.backup()), None
    name = f"weak_{world.live}"
    journal = asking.restore(source, WHO)
    with (
        role(world, name, "NOCREATEDB", owns=True),
        pytest.raises(BackupError, match=f"ALTER ROLE .*{name}.* CREATEDB"),
    ):
        loading.check(source, journal)


def test_a_superuser_restores_no_file_from_outside_and_is_named_where_it_restores_ours(
    world: World,
) -> None:
    source, name = of_backup(world.backup()), f"strong_{world.live}"
    with role(world, name, "SUPERUSER", owns=True):
        refused(world, replace(source, trusted=False), f'ALTER ROLE "{name}" NOSUPERUSER')
        (begun,) = folder().all()
        assert begun.step("load").state == WAITS, "it was known before anything was made"
        journal = world.prepare()
        kept.discard(journal)
    assert f"as the role {name}, which is a superuser, in" in journal.step("load").sentence


def test_a_live_database_of_somebody_else_is_not_renamed(world: World) -> None:
    source = of_backup(world.backup())
    journal = asking.restore(source, WHO)
    wanted = pytest.raises(BackupError, match=f'ALTER DATABASE "{world.live}" OWNER TO')
    with role(world, f"stranger_{world.live}", "CREATEDB", owns=False), wanted:
        loading.check(source, journal)


def test_a_template_without_vector_is_named(world: World, settings: Any) -> None:
    settings.ARC_TEMPLATE_DATABASE = bare = f"arc_bare_{uuid.uuid4().hex[:8]}"
    with superuser() as above:
        above.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 IS_TEMPLATE true").format(sql.Identifier(bare))
        )
    try:
        refused(world, of_backup(world.backup()), "vector")
    finally:
        with superuser() as above:
            above.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(bare)))
            above.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(bare)))


def test_bad_sql_at_the_end_leaves_live_as_it_was(world: World, tmp_path: Path) -> None:
    file = tmp_path / "changed.sql.gz"
    text = gzip.decompress((world.backups / world.backup("plain").file).read_bytes())
    file.write_bytes(gzip.compress(text + b"\nSELECT nothing_like_this();\n", 1))
    refused(world, Source(file, None, trusted=True), "nothing_like_this")


def test_changed_cut_and_renamed_files_are_refused(world: World) -> None:
    backup = world.backup()
    path = world.backups / backup.file
    good = path.read_bytes()
    source = of_backup(backup)
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    path.write_bytes(changed)
    refused(world, source, "sha256 differs", CorruptCopy)
    path.write_bytes(good[:-10])
    refused(world, source, "bytes, and its manifest says", CorruptCopy)


def test_sql_text_from_outside_is_refused(world: World, tmp_path: Path) -> None:
    file = tmp_path / "stranger.sql.gz"
    file.write_bytes(gzip.compress(b"SELECT 1;"))
    refused(world, find(str(file)), "which may do anything")


def test_a_copy_of_a_newer_version_is_refused(world: World) -> None:
    source = of_backup(world.backup())
    assert source.manifest is not None
    newer = replace(source.manifest, migrations=source.manifest.migrations | {"agents": "9999_of_tomorrow"})
    refused(world, replace(source, manifest=newer), "agents.9999_of_tomorrow")


def test_a_disk_that_fills_up_while_a_copy_is_restored_ends_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = proving.load

    def filling(*words: Any, **options: Any) -> proving.Loaded:
        """What is restored from here on finds less free than is to stay so."""
        with monkeypatch.context() as full:
            full.setattr(streams, "RESERVE", 10**15)
            return load(*words, **options)

    monkeypatch.setattr(proving, "load", filling)
    source = of_backup(world.backup())
    refused(world, source, "stay free for the servers", SpaceError)
    with pytest.raises(SpaceError, match="stay free for the servers"):
        parts.restore_agent(source, "Agent 1", name="another")


def test_a_manifest_that_tells_no_size_of_its_database_is_no_fault(world: World) -> None:
    source = of_backup(world.backup())
    assert source.manifest is not None
    for known in ({"bytes": "a lot"}, {"bytes": -5}, {}):
        odd = replace(source, manifest=replace(source.manifest, database=known))
        journal = asking.restore(odd, WHO, to_database=f"{world.live}_x")
        assert "tables" in loading.check(odd, journal)
        (folder().path / f"{journal.id}.json").unlink()
    # Then its dump tells how much room is needed at least.
    file = replace(source.manifest.file, raw_bytes=10**15)
    huge = replace(source, manifest=replace(source.manifest, database={"bytes": "a lot"}, file=file))
    refused(world, huge, "needs about [0-9,]+ MB beside the live one", SpaceError)


def test_a_copy_of_an_older_schema_is_brought_forward(world: World) -> None:
    call_command("migrate", "agents", "0001", verbosity=0)
    old = taking.take(taking.Options())
    call_command("migrate", "agents", verbosity=0)
    world.copies = {"custom": str(old.pk)}
    journal = world.restore()
    assert journal.state == FINISHED
    assert "applied" in journal.step("migrate").sentence
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('agents.idx_agents_name_begins') IS NOT NULL")
        assert cursor.fetchone() == (True,)


def test_roles_that_are_gone_do_not_stop_a_restore(world: World) -> None:
    name = sql.Identifier(f"gone_{world.live}")
    with superuser() as above:
        above.execute(sql.SQL("CREATE ROLE {}").format(name))
    with superuser(world.live) as above:
        above.execute(sql.SQL("GRANT SELECT ON agents.agents TO {}").format(name))
    copy = taking.take(taking.Options())
    world.copies = {"custom": str(copy.pk)}
    with superuser(world.live) as above:
        above.execute(sql.SQL("DROP OWNED BY {}").format(name))
        above.execute(sql.SQL("DROP ROLE {}").format(name))
    assert world.restore().state == FINISHED


def test_two_at_once_are_refused(world: World) -> None:
    source = of_backup(world.backup())
    first = asking.restore(source, WHO)
    with pytest.raises(LockedOut, match="under way"):
        asking.restore(source, WHO)
    with folder().locked("another"), pytest.raises(LockedOut, match="Another restore or undo"):
        doing.prepare(first, source)


def test_a_database_that_took_the_chosen_name_meanwhile_stays(world: World) -> None:
    source, name = of_backup(world.backup()), f"{world.live}_taken"
    journal = asking.restore(source, WHO, to_database=name)
    with databases.connected(databases.MAINTENANCE) as outside:
        made = databases.create(outside, name)
        with pytest.raises(BackupError, match="already exists"):
            doing.prepare(journal, source)
        assert databases.named(outside, name) == made


def test_an_undo_that_another_has_done_already_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "take", world.backup)
    restored = world.restore()
    one = asking.undo(restored, WHO)
    (folder().path / f"{one.id}.json").unlink()  # both were asked for before either was written down
    two = asking.undo(restored, WHO)
    doing.finish(one)
    live = world.oid()
    with pytest.raises(BackupError, match="no longer there"):
        doing.finish(two)
    assert two.state == BROKEN
    assert world.oid() == live


def test_who_mistypes_the_name_exchanges_nothing(world: World) -> None:
    journal = world.prepare()
    with pytest.raises(BackupError, match=world.live):
        asking.confirmed(journal, "arc?", WHO)
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == WAITING


def test_without_a_safety_copy_nothing_is_exchanged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, first = world.prepare(), world.oid()

    def take(*_: Any) -> Backup:
        raise BackupError("There is no room.")

    monkeypatch.setattr(taking, "take", take)
    asking.confirmed(journal, world.live, WHO)
    with pytest.raises(BackupError, match="without one nothing is exchanged: There is no room"):
        doing.finish(journal)
    assert world.oid() == first
    assert not paused.is_on(world.backups)
    assert Event.objects.filter(kind="restore.failed", object_id=journal.id).count() == 1
    found = folder().read(journal.id)
    assert found is not None
    assert found.state == WAITING, "it may be tried again"


def test_a_new_database_that_does_not_work_gives_its_place_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, first = world.prepare(), world.oid()
    monkeypatch.setattr(safety, "take", world.backup)
    with databases.connected(journal.new) as connection_:
        connection_.execute("ALTER TABLE events.events RENAME TO gone")
    monkeypatch.setattr("arcweb.backups.restore.finishing.carry_over", lambda *_, **__: [])
    asking.confirmed(journal, world.live, WHO)
    with pytest.raises(
        BackupError, match=r"the one of before is live again: It lacks the tables events\.events"
    ):
        doing.finish(journal)
    assert world.oid() == first
    assert Agent.objects.count() == 3


def test_twenty_clients_that_come_back_at_once_do_not_stop_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "take", world.backup)
    journal = world.prepare()
    asking.confirmed(journal, world.live, WHO)
    stop, seen, strange = threading.Event(), set[int](), list[str]()

    def client() -> None:
        while not stop.is_set():
            try:
                with server.connect(world.live, application="a service") as one:
                    while not stop.is_set():
                        row = one.execute(
                            "SELECT oid::int8 FROM pg_database WHERE datname = current_database()"
                        ).fetchone()
                        seen.add(row[0] if row else 0)
                        one.execute("SELECT count(*) FROM agents.agents")
                        stop.wait(0.02)
            except (psycopg.OperationalError, BackupError):
                stop.wait(0.01)
            except psycopg.Error as error:
                strange.append(str(error))

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: world.oid() in seen, 60, "a first look at live")
        doing.finish(journal)
        until(lambda: journal.new_oid in seen, 60, "a first look at the restored one")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert journal.state == FINISHED
    assert not strange
    assert seen == {journal.live_oid, journal.new_oid}, "first the one, then the other, and nothing else"


def test_who_cannot_be_ended_is_named_and_live_opens_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "take", world.backup)
    journal, first = world.prepare(), world.oid()
    asking.confirmed(journal, world.live, WHO)
    refusal = pytest.raises(BackupError, match=r"of postgres .*only a superuser can end")
    with superuser(world.live), monkeypatch.context() as hurried, refusal:
        hurried.setattr(databases, "ENDING", 0.5)
        doing.finish(journal)
    assert world.oid() == first
    asking.confirmed(journal, world.live, WHO)
    doing.finish(journal)
    assert world.oid() == journal.new_oid


def test_an_exchange_takes_all_or_nothing(world: World) -> None:
    """The second rename fails: the first is undone with it."""
    journal, first = world.prepare(), world.oid()
    with databases.connected(databases.MAINTENANCE) as outside:
        databases.drop(outside, journal.new)
    journal.live_oid = first
    connections["default"].close()
    with pytest.raises(psycopg.errors.InvalidCatalogName):
        exchange.exchange(journal)
    assert world.oid() == first
