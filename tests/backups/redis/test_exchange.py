"""A Valkey's data are exchanged for others, and a crash at any point leaves the old or the new, never
less."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.redis_rdb import staging
from arcweb.backups.redis_rdb.counts import Contents, Count
from arcweb.backups.redis_rdb.rdb import head
from arcweb.embedded import rdb_swap
from arcweb.embedded.exchange import Exchanger, exchange
from arcweb.embedded.rdb_swap import ASKED, ENDED, INTERRUPTED, Place, Swap
from arcweb.embedded.stack import Stack
from arcweb.embedded.valkey import Valkey
from tests.backups.redis.conftest import fill
from tests.waiting import until

Factory = Callable[..., Stack]


class Died(BaseException):
    """As kill -9: nobody catches it."""


def server_of(stack: Stack, role: str) -> Valkey:
    return next(one for one in stack.servers if isinstance(one, Valkey) and one.role == role)


def client_of(stack: Stack, role: str = "state") -> Redis:
    return Redis.from_url(stack.layout.redis_url(role), protocol=2)


def rdb_of(server: Valkey, client: Redis) -> bytes:
    client.execute_command("SAVE")
    return (server.folder / "dump.rdb").read_bytes()


def prepare(server: Valkey, rdb: bytes, *, said: Contents | None = None) -> Contents:
    source = io.BytesIO(rdb)
    aof = server.keeps_aof()
    return staging.prepare(server, source, len(rdb), head(rdb), said=said, aof=aof, tell=str)


def ask(server: Valkey, *, keep: bool = False, at: float | None = None) -> None:
    server.place.write(Swap("an id", "somebody", ASKED, at=at or time.time(), keep=keep))


@pytest.mark.parametrize("role", ["state", "cache"])
def test_the_data_are_exchanged_and_outlast_the_next_start(throwaway_stack: Factory, role: str) -> None:
    """With its append-only file on, a server that was merely given the RDB would start empty."""
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, role), client_of(stack, role)
    fill(client)
    keys = client.dbsize()
    rdb = rdb_of(server, client)
    client.flushall()
    client.set("newer", 1)
    found = prepare(server, rdb)
    assert client.get("newer") == b"1", "the live server is not touched before"
    assert found.loaded == keys + 6
    ask(server)
    ended = exchange(stack.layout, server, str)
    assert (ended.step, ended.well) == (ENDED, True)
    assert client.dbsize() == keys
    assert client.get("newer") is None
    assert client.xlen("stream") == 2
    assert client.info("persistence")["aof_enabled"] == int(role == "state")
    client.set("after", 1)
    if role == "cache":
        client.execute_command("SAVE")
    stack.stop()
    Stack(stack.layout, stack.options).start()
    assert client_of(stack, role).dbsize() == keys + 1
    assert not server.place.incoming.exists()
    assert not server.place.aside.exists()


def test_what_is_no_rdb_or_another_one_never_reaches_the_live_server(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    fill(client)
    rdb = rdb_of(server, client)
    broken = bytearray(rdb)
    broken[len(rdb) // 2] ^= 1
    with pytest.raises(CorruptCopy, match="cannot load it"):
        prepare(server, bytes(broken))
    with pytest.raises(CorruptCopy, match="its manifest says"):
        prepare(server, rdb, said=Contents({0: {"string": Count(1, 0)}}, 1, 0))
    assert not server.place.incoming.exists()
    assert client.xlen("stream") == 2
    assert server.place.read() is None


def test_an_aof_that_cannot_be_written_is_a_failure_before_anything_live_changes(
    throwaway_stack: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    fill(client)
    rdb = rdb_of(server, client)
    switch = staging._switch_aof_on

    def without_a_folder(other: Redis, tell: Any) -> None:
        (server.place.incoming / "appendonlydir").write_text("in the way")
        switch(other, tell)

    monkeypatch.setattr(staging, "_switch_aof_on", without_a_folder)
    with pytest.raises(BackupError, match=r"made ready.*live server is as it was"):
        prepare(server, rdb)
    assert not server.place.incoming.exists()
    assert client.xlen("stream") == 2


def test_a_failed_rewrite_of_the_aof_is_a_failure_at_once(
    throwaway_stack: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tries it again and again by itself; nobody is to wait for that."""
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    fill(client)
    rdb = rdb_of(server, client)
    switch = staging._switch_aof_on

    def without_room(other: Redis, tell: Any) -> None:
        folder = server.place.incoming
        (folder / "appendonlydir").mkdir(mode=0o700)
        server.user.take(folder / "appendonlydir")
        looks = iter(range(2000))

        def patient(words: str) -> None:
            assert next(looks, None) is not None, "it waits for ever"

        folder.chmod(0o555)  # as a full disk: what is begun can go on, and nothing new stands beside it
        try:
            switch(other, patient)
        finally:
            folder.chmod(0o700)

    monkeypatch.setattr(staging, "_switch_aof_on", without_room)
    with pytest.raises(BackupError, match="append-only file could not be written"):
        prepare(server, rdb)
    assert not server.place.incoming.exists()
    assert client.xlen("stream") == 2


def test_a_server_that_cannot_write_what_it_holds_is_not_ended(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "cache"), client_of(stack, "cache")
    fill(client)
    prepare(server, rdb_of(server, client))
    client.set("newer", 1)
    client.config_set("rdb-key-save-delay", 0)
    (server.folder / "dump.rdb").unlink()
    (server.folder / "dump.rdb").mkdir()
    (server.folder / "dump.rdb" / "in the way").touch()
    ask(server)
    ended = exchange(stack.layout, server, str)
    assert not ended.well
    assert "could not write what it holds" in ended.sentence
    assert client.get("newer") == b"1"


def test_data_that_the_server_does_not_start_with_are_taken_out_again(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    fill(client)
    keys = client.dbsize()
    prepare(server, rdb_of(server, client))
    base = next(server.place.incoming.glob("appendonlydir/*.base.*"))
    base.write_bytes(b"no RDB at all")
    client.set("newer", 1)
    ask(server)
    ended = exchange(stack.layout, server, str)
    assert not ended.well
    assert "did not start with the new data and has the old ones" in ended.sentence
    assert client.get("newer") == b"1"
    assert client.dbsize() == keys + 1


class Mortal:
    """Dies before the operation of that number: a move of a file, or a word in the journal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for owner, name in ((rdb_swap, "_move"), (Place, "write")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Died
            self.left -= 1
            return real(*args, **options)

        return counted


def test_a_crash_at_any_point_leaves_the_old_or_the_new(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    client.set("which", "new")
    rdb = rdb_of(server, client)
    seen = set()
    for point in range(30):
        client.set("which", "old")
        client.delete("new too")
        prepare(server, rdb)
        ask(server)
        with pytest.MonkeyPatch.context() as patch:
            Mortal(patch, point)
            try:
                exchange(stack.layout, server, str)
                break
            except Died:
                pass
        # The next start, by another process, which knows nothing of this one.
        again = Stack(stack.layout, stack.options)
        again.start()
        server = server_of(again, "state")
        client = client_of(again)
        value = client.get("which")
        assert value in (b"old", b"new"), f"dead before operation {point}"
        seen.add(value)
        journal = server.place.read()
        assert journal is not None
        if value == b"old" and journal.step == ENDED:
            assert journal.sentence == INTERRUPTED
        assert client.info("persistence")["aof_enabled"] == 1
        if journal.step == ENDED:
            assert not server.place.aside.exists()
        stack = again
    else:
        pytest.fail("it never came through")
    assert seen == {b"old", b"new"}
    assert point >= 8


def test_the_supervisor_does_what_a_page_asks_for_and_once(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    client.set("which", "new")
    prepare(server, rdb_of(server, client))
    client.set("which", "old")
    said: list[str] = []
    exchanger = Exchanger(stack.layout, [server], said.append)
    exchanger.look()
    assert client.get("which") == b"old"
    ask(server)
    exchanger.look()
    assert client.get("which") == b"new"
    assert "as somebody asked" in said[0]
    client.set("which", "newest")
    exchanger.look()
    assert client.get("which") == b"newest"
    # The request of somebody who is long gone.
    prepare(server, rdb_of(server, client))
    ask(server, at=time.time() - 3600)
    exchanger.look()
    assert "Nobody did it in time" in server.place.read().sentence  # type: ignore[union-attr]


def test_clients_that_come_again_find_the_new_data(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    client.set("which", "new")
    prepare(server, rdb_of(server, client))
    client.set("which", "old")
    seen: list[bytes | None] = []
    stop = threading.Event()

    def read() -> None:
        with client_of(stack) as other:
            while not stop.is_set():
                try:
                    seen.append(other.get("which"))
                except Exception:  # noqa: BLE001 - away for a moment
                    time.sleep(0.01)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        until(lambda: b"old" in seen, what="a first look")
        ask(server)
        exchange(stack.layout, server, str)
        until(lambda: b"new" in seen, what="a look at the new data")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert set(seen) == {b"old", b"new"}, "nobody saw an empty server"


def test_old_files_of_a_server_that_no_copy_was_taken_of_are_kept(throwaway_stack: Factory) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    client.set("which", "new")
    prepare(server, rdb_of(server, client))
    ask(server, keep=True)
    assert exchange(stack.layout, server, str).well
    assert (server.place.aside / "appendonlydir").is_dir()
    assert not server.place.incoming.exists()


def test_a_disk_that_is_full_before_anything_moved_takes_nothing_away(
    throwaway_stack: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    fill(client)
    prepare(server, rdb_of(server, client))
    (server.place.incoming / "appendonlydir").rename(server.place.incoming / "another name")
    client.set("newer", 1)
    ask(server)
    write = Place.write

    def full(place: Place, swap: Swap) -> Swap:
        if swap.step == rdb_swap.MOVING:
            raise OSError(28, "No space left on device")
        return write(place, swap)

    monkeypatch.setattr(Place, "write", full)
    ended = exchange(stack.layout, server, str)
    assert not ended.well
    assert "as before" in ended.sentence
    assert client.get("newer") == b"1"


class Full:
    """A disk that takes nothing more from the operation of that number on, for as many as that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, lasting: int) -> None:
        self.number, self.at, self.until = 0, at, at + lasting
        for owner, name in ((rdb_swap, "_move"), (Place, "write")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name), name))

    def _counted(self, real: Any, name: str) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            self.number += 1
            # What was moved can be moved back: only new bytes need room.
            if self.at <= self.number - 1 < self.until and (name == "write" or self.number - 1 == self.at):
                raise OSError(28, "No space left on device")
            return real(*args, **options)

        return counted


@pytest.mark.parametrize("lasting", [1, 100])
def test_a_disk_that_is_full_at_any_point_ends_neither_server_nor_stack(
    throwaway_stack: Factory, lasting: int
) -> None:
    stack = throwaway_stack(postgres=False)
    server, client = server_of(stack, "state"), client_of(stack)
    client.set("which", "new")
    rdb = rdb_of(server, client)
    said: list[str] = []
    exchanger = Exchanger(stack.layout, [server], said.append)
    seen = set()
    for point in range(30):
        client.set("which", "old")
        prepare(server, rdb)
        ask(server)
        said.clear()
        with pytest.MonkeyPatch.context() as patch:
            disk = Full(patch, point, lasting)
            exchanger.look()
        value = client.get("which")
        seen.add(value)
        ended = server.place.read()
        assert ended is None or ended.well == (value == b"new"), f"full at operation {point}: {ended}"
        assert ended is not None or lasting > 1, "one refusal is no reason to leave no word"
        expected = "The data were exchanged" if value == b"new" else "No space left on device"
        assert expected in said[-1]
        assert server.process() is not None
        if disk.number <= point:
            break
    else:
        pytest.fail("it never came through")
    assert seen == {b"old", b"new"}
    assert point >= 8
