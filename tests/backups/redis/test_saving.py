"""BGSAVE is believed when the server has a new snapshot, and not before."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from arcweb.backups.exceptions import BackupError
from arcweb.backups.redis_rdb import disk
from arcweb.backups.redis_rdb.disk import NotHereError, Place
from arcweb.backups.redis_rdb.saving import COARSE, NotAllowedError, Saved, save
from tests.backups.redis.conftest import (
    Serve,
    again,
    end_writers,
    fill,
    folder_of,
    in_progress,
    saves_slowly,
    server_process,
    wait_for_start,
)
from tests.waiting import until


def quiet(_words: str) -> None:
    """Nobody listens."""


def ending(client: Redis, said: list[str]) -> Callable[[str], None]:
    """Collects what is said; the other writer ends once it was noticed, and not before."""

    def tell(words: str) -> None:
        said.append(words)
        if "another snapshot" in words:
            end_writers(server_process(client))

    return tell


def test_the_file_holds_the_moment_of_the_start_or_later(serve: Serve, product: str) -> None:
    client = serve(product)
    fill(client)
    before = int(time.time() - COARSE / 1e6)
    saved = save(client, tell=quiet)
    assert before <= saved.started <= saved.ended
    where = disk.place(client, "redis://127.0.0.1/0")
    with disk.saved_file(where, saved) as file:
        data = file.read()
        file.finish()
    assert data == (folder_of(client) / "dump.rdb").read_bytes()
    assert len(data) == file.size


def test_two_saves_in_a_row_are_two(serve: Serve) -> None:
    client = serve()
    first = save(client, tell=quiet)
    client.set("between", 1)
    second = save(client, tell=quiet)
    assert second.started > first.ended
    assert b"between" in (folder_of(client) / "dump.rdb").read_bytes()


def test_one_under_way_is_waited_for_and_ours_comes_after_it(serve: Serve, product: str) -> None:
    client = serve(product)
    client.mset({"a": 1, "b": 2})
    saves_slowly(client)
    client.execute_command("BGSAVE")
    wait_for_start(client)
    client.set("after", "the first began")
    client.config_set("rdb-key-save-delay", 0)
    said: list[str] = []
    save(client, tell=ending(client, said))
    assert "another snapshot" in said[0]
    assert b"the first began" in (folder_of(client) / "dump.rdb").read_bytes()


def test_a_rewrite_of_the_aof_is_waited_for(serve: Serve, product: str) -> None:
    client = serve(product, "--appendonly", "yes")
    client.mset({"a": 1, "b": 2})
    saves_slowly(client)
    client.execute_command("BGREWRITEAOF")
    client.config_set("rdb-key-save-delay", 0)
    said: list[str] = []
    save(client, tell=ending(client, said))
    assert "another snapshot" in said[0]


def test_another_writer_that_comes_between_is_waited_for_too(serve: Serve) -> None:
    client = serve()
    client.set("a", 1)
    said: list[str] = []
    others = iter(["one"])

    class Overtaken:
        """Somebody's BGSAVE begins when ours has just seen that nobody writes."""

        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def execute_command(self, *words: str) -> object:
            if next(others, ""):
                saves_slowly(client)
                client.execute_command("BGSAVE")
                wait_for_start(client)
                client.config_set("rdb-key-save-delay", 0)
                client.set("after", "the other began")
            return client.execute_command(*words)

    save(Overtaken(), tell=ending(client, said))  # type: ignore[arg-type]
    assert "another snapshot" in said[0]
    assert b"the other began" in (folder_of(client) / "dump.rdb").read_bytes()


def test_a_clock_behind_the_last_save_cannot_tell_a_new_one(serve: Serve) -> None:
    client = serve()
    last = int(client.info("persistence")["rdb_last_save_time"])

    class SetBack:
        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def time(self) -> tuple[int, int]:
            return last - 100, 0

    with pytest.raises(BackupError, match=r"is behind its own LASTSAVE .*it was set back"):
        save(SetBack(), tell=quiet)  # type: ignore[arg-type]
    assert not in_progress(client)


def test_a_second_that_has_just_begun_is_not_told_from_the_one_before(serve: Serve) -> None:
    """The file and LASTSAVE are of a coarser clock, which may have that one still."""
    client = serve()
    asked: list[tuple[int, int]] = []

    class JustBegun:
        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def time(self) -> tuple[int, int]:
            last = int(client.info("persistence")["rdb_last_save_time"])
            asked.append((last + 1, 4_000) if not asked else (last + 2, 4_000))
            return asked[-1]

    last = int(client.info("persistence")["rdb_last_save_time"])
    until(lambda: int(client.time()[0]) > last + 1)  # in earnest it has long begun
    saved = save(JustBegun(), tell=quiet)  # type: ignore[arg-type]
    assert len(asked) == 2
    assert saved.started == asked[-1][0] - 1


def test_a_failing_save_is_a_failure_that_names_the_log(serve: Serve, product: str) -> None:
    client = serve(product)
    client.set("a", 1)
    shutil.rmtree(folder_of(client))
    with pytest.raises(BackupError, match=r"BGSAVE failed on the server: its log says why: /var/log/here"):
        save(client, tell=quiet, log="/var/log/here")


def test_a_refused_bgsave_is_said_in_the_servers_words(serve: Serve) -> None:
    client = serve("Valkey", "--rename-command", "BGSAVE", "")
    with pytest.raises(BackupError, match="refused BGSAVE: unknown command"):
        save(client, tell=quiet)


def test_a_save_that_was_ended_leaves_an_old_lastsave_and_is_no_save(serve: Serve, product: str) -> None:
    """FLUSHALL ends the writing child without an error: the status stays ok, and there is no new file."""
    client = serve(product)
    fill(client)
    save(client, tell=quiet)
    saves_slowly(client)

    def flush() -> None:
        with again(client) as other:
            wait_for_start(other)
            other.flushall()

    thread = threading.Thread(target=flush)
    thread.start()
    with pytest.raises(BackupError, match=r"LASTSAVE \(\d+\) is older than its start"):
        save(client, tell=quiet)
    thread.join()
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"


def test_a_server_that_was_started_anew_meanwhile_has_not_saved(serve: Serve) -> None:
    client = serve()
    runs = iter(["one", "another"])

    class Restarted:
        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def info(self, section: str) -> object:
            return {"run_id": next(runs)} if section == "server" else client.info(section)

    with pytest.raises(BackupError, match="started anew"):
        save(Restarted(), tell=quiet)  # type: ignore[arg-type]


def test_a_save_that_takes_too_long_is_left_alone(serve: Serve) -> None:
    client = serve()
    client.mset({"a": 1, "b": 2})
    saves_slowly(client)
    with pytest.raises(BackupError, match="in time"):
        save(client, tell=quiet, patience=0.1)
    assert in_progress(client)


def test_whoever_waits_can_stop(serve: Serve) -> None:
    client = serve()
    client.set("a", 1)
    saves_slowly(client)

    def stop(_seconds: float) -> None:
        if in_progress(client):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(client, tell=quiet, wait=stop)


def test_a_user_who_may_not_save_is_told_so(serve: Serve, product: str) -> None:
    client = serve(product)
    client.acl_setuser("looker", enabled=True, nopass=True, commands=["+info", "+time", "+ping"])
    looker = again(client, username="looker", password="x")
    with pytest.raises(NotAllowedError, match="forbids BGSAVE"):
        save(looker, tell=quiet)


def test_another_machines_file_is_not_looked_for_here(serve: Serve) -> None:
    client = serve()
    with pytest.raises(NotHereError, match="another machine"):
        disk.place(client, "redis://redis.example.org:6379/0")


def test_a_file_of_an_earlier_moment_is_another_servers(serve: Serve) -> None:
    client = serve()
    fill(client)
    saved = save(client, tell=quiet)
    path = folder_of(client) / "dump.rdb"
    later = Saved(saved.ended + 1, saved.ended + 2)
    with pytest.raises(NotHereError, match="older one"), disk.saved_file(Place(path), later):
        pass


def test_what_stands_there_instead_of_a_file_is_not_read(serve: Serve, tmp_path: Path) -> None:
    client = serve()
    saved = save(client, tell=quiet)
    link = tmp_path / "link.rdb"
    link.symlink_to(folder_of(client) / "dump.rdb")
    for path in (link, tmp_path, tmp_path / "none.rdb"):
        refused = pytest.raises(NotHereError, match=r"cannot be read here|no plain file")
        with refused, disk.saved_file(Place(path), saved):
            pass


def test_a_later_save_does_not_change_what_is_being_read(serve: Serve) -> None:
    client = serve()
    fill(client)
    saved = save(client, tell=quiet)
    with disk.saved_file(disk.place(client, "unix:///x"), saved) as file:
        first = file.read(100)
        client.flushall()
        client.execute_command("SAVE")
        whole = first + file.read()
        file.finish()
    assert len(whole) == file.size > (folder_of(client) / "dump.rdb").stat().st_size


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_that_is_written_into_is_no_copy(serve: Serve, mode: str) -> None:
    """At its end, or in its midst, which leaves its length as it is."""
    client = serve()
    saved = save(client, tell=quiet)
    path = folder_of(client) / "dump.rdb"
    with disk.saved_file(Place(path), saved) as file:
        file.read()
        with path.open(mode) as other:
            other.write(b"more")
        with pytest.raises(BackupError, match="changed while it was copied"):
            file.finish()
