"""A month archived and dropped: what is kept, what goes, and what a failure leaves as it was."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from arcweb.database.partitions import archive, catalog, dropping, locking
from arcweb.database.partitions.dropping import DropError, Dropped
from arcweb.database.partitions.models import PartitionArchive
from arcweb.events.models import Event
from tests.database.partitions.conftest import OLD, execute, fill, one, partitions

MARCH, APRIL = datetime(2019, 3, 1, tzinfo=UTC), datetime(2019, 4, 1, tzinfo=UTC)


def drop(name: str = OLD, *, archived: bool = True, details: bool = False, **more: Any) -> Dropped:
    options = {"tell": lambda *_: None, "wait": lambda _: None, "mark": "job1", **more}
    return dropping.drop(name, MARCH, APRIL, archived=archived, details=details, **options)


def nothing_happened(archives: Path) -> None:
    assert one(f"SELECT count(*) FROM events.{OLD}") == 250
    assert f"events.{OLD}" in partitions()
    assert not PartitionArchive.objects.exclude(dropped_at=None)
    assert not list(archives.glob("*.part"))


@pytest.mark.parametrize("details", [False, True])
def test_an_archive_holds_what_was_there_and_can_be_read_back_into_a_table(
    old_month: str, archives: Path, details: bool
) -> None:
    execute("CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM events.events_2019_03")
    execute(
        "CREATE TEMP TABLE kept_details ON COMMIT DROP AS "
        "SELECT * FROM events.event_details WHERE occurred_at < '2019-04-01 00:00+00'"
    )
    assert drop(details=details) == Dropped(True, 250, f"{OLD}-job1.jsonl.gz", 225)

    file = archives / f"{OLD}-job1.jsonl.gz"
    manifest = json.loads((archives / f"{OLD}-job1.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["bytes"] == file.stat().st_size
    assert (manifest["rows"], manifest["details"]) == (250, details)
    assert (manifest["first"], manifest["until"]) == (
        "2019-03-01T00:00:00+00:00",
        "2019-04-01T00:00:00+00:00",
    )
    assert file.stat().st_mode & 0o777 == 0o600
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert len(lines) == 250
    assert sorted(manifest["columns"]) == sorted(json.loads(lines[0]))
    assert any("Ada" in line for line in lines) is details

    execute("CREATE TEMP TABLE back (LIKE kept) ON COMMIT DROP")
    execute(
        "INSERT INTO back SELECT (jsonb_populate_record(NULL::back, line::jsonb)).* FROM "
        "unnest(%s::text[]) AS line",
        [lines],
    )
    assert one("SELECT count(*) FROM (TABLE kept EXCEPT TABLE back) AS lost") == 0
    assert one("SELECT count(*) FROM back") == 250
    if details:
        found = [json.loads(line)["details"] for line in lines]
        assert sum(detail is not None for detail in found) == one("SELECT count(*) FROM kept_details")
        assert next(filter(None, found))["address"] == "203.0.113.9"


def test_one_month_goes_and_nothing_else(old_month: str, archives: Path) -> None:
    execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.stray', '2001-01-01')")
    before, april = (
        partitions(),
        one("SELECT count(*) FROM events.event_details WHERE occurred_at >= '2019-04-01'"),
    )
    others = {name: one(f"SELECT pg_relation_filenode('{name}')") for name in before - {f"events.{OLD}"}}
    assert drop(archived=False) == Dropped(True, 250, "", 225)
    assert partitions() == before - {f"events.{OLD}"}
    assert {name: one(f"SELECT pg_relation_filenode('{name}')") for name in others} == others
    assert one("SELECT to_regclass('events.events_2019_03') IS NULL")
    assert Event.objects.filter(kind="t.old").count() == 1, "April"
    assert Event.objects.filter(kind="t.stray").exists()
    assert one("SELECT count(*) FROM events.event_details WHERE occurred_at >= '2019-04-01'") == april + 1, (
        "and that of the drop"
    )
    event = Event.objects.get(kind="partition.dropped")
    assert (event.object_id, event.data["rows"], event.data["archive"]) == (OLD, 250, "no")
    assert not archives.exists()


def test_a_second_run_finds_it_gone_and_removes_what_the_first_left(old_month: str, archives: Path) -> None:
    drop()
    execute(
        "INSERT INTO events.event_details (occurred_at, event_id, actor_name) VALUES ('2019-03-05', "
        "1, 'left behind')"
    )
    fill("2019-03", 3)  # late ones: in the default partition, with their details
    late = one("SELECT count(*) FROM events.event_details WHERE occurred_at < '2019-03-02'")
    assert drop() == Dropped(False, 0, "", 1)
    assert one("SELECT count(*) FROM events.event_details WHERE occurred_at < '2019-03-02'") == late
    assert Event.objects.filter(kind="partition.dropped").count() == 1


def test_details_are_removed_in_chunks(old_month: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "DETAILS_AT_ONCE", 40)
    told: list[int] = []
    assert drop(archived=False, tell=lambda done, *_: told.append(done)).details == 225
    assert len(told) > 5


def test_a_run_killed_before_the_drop_leaves_all_and_the_next_completes(
    old_month: str, archives: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int | None, words: str) -> None:
        if "detach" in words:
            raise Killed

    with pytest.raises(Killed):
        drop(tell=kill)
    nothing_happened(archives)
    archives.joinpath(f"{OLD}-job1.jsonl.gz.dead.part").write_text("half")
    assert drop().rows == 250
    assert sorted(path.name for path in archives.iterdir()) == [
        f"{OLD}-job1.jsonl.gz",
        f"{OLD}-job1.manifest.json",
    ]
    assert PartitionArchive.objects.get().dropped_at is not None


def test_a_file_that_does_not_read_back_stops_it(
    old_month: str, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = archive.read_back

    def broken(file: Path, *more: Any) -> Any:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF  # one bit of rot is enough
        file.write_bytes(content)
        return real(file, *more)

    monkeypatch.setattr(archive, "read_back", broken)
    with pytest.raises(archive.ArchiveError, match="read back"):
        drop()
    nothing_happened(archives)
    assert not list(archives.iterdir())


def test_a_full_disk_stops_it_before_and_in_the_middle(
    old_month: str, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [archive.RESERVE - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free[0]))
    with pytest.raises(archive.ArchiveError, match="Make room"):
        drop()
    nothing_happened(archives)
    free[0] = 10**12
    monkeypatch.setattr(
        archive, "_keep_reserve", lambda: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(archive.ArchiveError, match="No space left on device"):
        drop()
    nothing_happened(archives)
    assert not list(archives.iterdir())


def test_events_that_came_after_the_archive_are_archived_too(
    old_month: str, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = archive.write, []

    def write(*arguments: Any, **options: Any) -> Any:
        manifest = real(*arguments, **options)
        written.append(manifest.rows)
        if len(written) == 1:
            execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.late', '2019-03-20')")
        return manifest

    monkeypatch.setattr(archive, "write", write)
    assert drop().rows == 251
    assert written == [250, 251]
    assert PartitionArchive.objects.get().rows == 251


def test_an_archive_that_went_away_stops_it(old_month: str, archives: Path) -> None:
    def lose(done: int, total: int | None, words: str) -> None:
        if "detach" in words:
            archives.joinpath(f"{OLD}-job1.jsonl.gz").unlink()

    with pytest.raises(archive.ArchiveError, match="is gone"):
        drop(tell=lose)
    nothing_happened(archives)


def test_what_must_stay_is_refused(old_month: str, archives: Path) -> None:
    now = f"events_{datetime.now(UTC):%Y_%m}"
    for name, words in (
        (now, "have ended"),
        (catalog.DEFAULT, "never dropped"),
        ("events_2019_04", "other bounds"),
    ):
        with pytest.raises(DropError, match=words):
            drop(name, archived=False)
    assert {f"events.{now}", "events.events_2019_04"} <= partitions()


@pytest.mark.django_db(transaction=True)
def test_while_somebody_reads_it_gives_way_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PAUSES", (0.0,))
    execute("SELECT events.make_partition('2019-03-01')")
    waited: list[float] = []
    reader = connection.copy()
    try:
        with reader.cursor() as cursor:
            cursor.execute("BEGIN; SELECT count(*) FROM events.events")
        with pytest.raises(locking.Busy, match="no moment to detach"):
            drop(archived=False, wait=waited.append)
        assert waited == [0.0]
        assert f"events.{OLD}" in partitions()
        with reader.cursor() as cursor:
            cursor.execute("ROLLBACK")  # a session that is only closed keeps its locks for a moment
    finally:
        reader.close()
    assert drop(archived=False).partition
    assert f"events.{OLD}" not in partitions()


def test_a_month_with_partitions_of_its_own_is_not_dropped_with_an_empty_archive(
    db: None, archives: Path
) -> None:
    execute(
        "CREATE TABLE events.events_2019_03 PARTITION OF events.events "
        "FOR VALUES FROM ('2019-03-01 00:00+00') TO ('2019-04-01 00:00+00') PARTITION BY RANGE (occurred_at)"
    )
    execute("CREATE TABLE events.events_2019_03_all PARTITION OF events.events_2019_03 DEFAULT")
    fill("2019-03", 5)
    with pytest.raises(DropError, match="partitions of its own"):
        drop()
    assert one("SELECT count(*) FROM events.events WHERE occurred_at < '2019-04-01 00:00+00'") == 5
    assert not archives.exists()


def test_archives_of_jobs_that_could_not_drop_do_not_pile_up(
    old_month: str, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise locking.Busy

    with monkeypatch.context() as failing:
        failing.setattr(locking, "with_lock", busy)
        for mark in ("night1", "night2", "night3"):
            with pytest.raises(locking.Busy):
                drop(mark=mark)
    assert sorted(file.name for file in archives.iterdir()) == [
        f"{OLD}-night3.jsonl.gz",
        f"{OLD}-night3.manifest.json",
    ]
    assert PartitionArchive.objects.get().file == f"{OLD}-night3.jsonl.gz"
    assert drop(mark="night4").archive == f"{OLD}-night4.jsonl.gz"
    execute("SELECT events.make_partition('2019-03-01')")  # that month again: the archive of what went stays
    fill("2019-03", 300)
    assert drop(mark="later").rows == 300
    assert set(PartitionArchive.objects.values_list("file", flat=True)) == {
        f"{OLD}-night4.jsonl.gz",
        f"{OLD}-later.jsonl.gz",
    }
    assert (archives / f"{OLD}-night4.jsonl.gz").exists()
