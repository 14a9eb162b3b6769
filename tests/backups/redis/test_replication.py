"""The RDB over the network: what a replica gets, whole, or a sentence."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from arcweb.backups.exceptions import BackupError
from arcweb.backups.redis_rdb import replication
from arcweb.backups.redis_rdb.live import look
from arcweb.backups.redis_rdb.rdb import Checked
from arcweb.backups.redis_rdb.replication import LIKE_A_REPLICA, Snapshot
from arcweb.backups.redis_rdb.saving import NotAllowedError
from arcweb.jobs.exceptions import JobCancelled
from tests.backups.redis.conftest import PROGRAMS, Serve, again, digest, fill, folder_of
from tests.cache_admin import nodes
from tests.waiting import until

MARK = b"0123456789abcdef0123456789abcdef01234567"


def fetched(client: Redis, *, version: str = "", user: str = "default", silence: float = 60.0) -> bytes:
    """The RDB, looked at from its head to its checksum."""
    out = io.BytesIO()
    with replication.snapshot(client, version=version, user=user, tell=str, silence=silence) as coming:
        checked = Checked(coming)
        while block := checked.read(100_000):
            out.write(block)
        checked.finish()
    return out.getvalue()


@contextmanager
def loaded(product: str, folder: Path, rdb: bytes) -> Iterator[Redis]:
    """A server that has loaded it."""
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(rdb)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "REDIS_SERVER", PROGRAMS[product])
        with nodes.serving(folder, "--enable-debug-command", "local") as client:
            yield again(client)


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_it_holds_what_the_server_holds(serve: Serve, product: str, diskless: str, tmp_path: Path) -> None:
    client = serve(product, "--repl-diskless-sync", diskless, "--enable-debug-command", "local")
    fill(client)
    rdb = fetched(client, version=look(client).version)
    with loaded(product, tmp_path / "loaded", rdb) as other:
        assert digest(other) == digest(client)
        assert other.info("keyspace").keys() == {"db0", "db3", "db9"}


def test_it_holds_what_the_disk_holds(serve: Serve, product: str, tmp_path: Path) -> None:
    client = serve(product, "--enable-debug-command", "local")
    fill(client)
    client.execute_command("SAVE")
    disk = (folder_of(client) / "dump.rdb").read_bytes()
    with loaded(product, tmp_path / "one", disk) as one:
        from_disk = digest(one)
    with loaded(product, tmp_path / "two", fetched(client, version=look(client).version)) as two:
        assert digest(two) == from_disk


def test_the_server_needs_no_disk_for_it(serve: Serve, product: str) -> None:
    client = serve(product)
    client.set("a", 1)
    folder_of(client).rmdir()
    assert fetched(client).startswith((b"REDIS", b"VALKEY"))


def test_fields_with_a_time_to_live_come_too(serve: Serve) -> None:
    """Valkey 9 ends the connection at them unless the replica says that it knows them."""
    client = serve("Valkey")
    client.hset("hash", mapping={"kept": 1, "for an hour": 2})
    client.execute_command("HEXPIRE", "hash", 3600, "FIELDS", 1, "for an hour")
    assert b"for an hour" in fetched(client, version=look(client).version)
    with pytest.raises(BackupError, match="before its snapshot was whole"):
        fetched(client, version="")


def test_a_password_is_needed_and_given(serve: Serve, product: str) -> None:
    client = serve(product, password="with space/and@")
    client.set("a", 1)
    assert fetched(client)
    with pytest.raises(AuthenticationError):
        fetched(again(client, password="wrong"))


def test_a_user_needs_what_a_replica_needs_and_no_more(serve: Serve, product: str) -> None:
    client = serve(product)
    client.set("a", 1)
    client.acl_setuser("backup", enabled=True, nopass=True, commands=["+info", "+ping"])
    backup = again(client, username="backup", password="any")
    with pytest.raises(NotAllowedError, match=r"forbids replication \(NOPERM") as refused:
        fetched(backup, user="backup")
    grant = LIKE_A_REPLICA.format(user="backup").partition(": ")[2]
    assert grant in str(refused.value)
    client.execute_command(*grant.split())
    assert fetched(again(client, username="backup", password="any"), user="backup")


def test_a_replica_is_a_source_too(serve: Serve, product: str) -> None:
    first = serve(product)
    first.set("from the first", 1)
    second = serve(product, "--replicaof", "127.0.0.1", nodes.port_of(first))
    until(lambda: second.get("from the first") == b"1", what="its copy of the first")
    assert b"from the first" in fetched(second, version=look(second).version)


def test_a_replica_that_lost_its_first_says_so(serve: Serve, product: str) -> None:
    client = serve(product, "--replicaof", "127.0.0.1", nodes.free_port())
    with pytest.raises(BackupError, match="NOMASTERLINK"):
        fetched(client)


def test_a_server_that_dies_in_the_middle_leaves_nothing(serve: Serve, product: str) -> None:
    client = serve(product)
    fill(client, keys=5000)
    pid = int(client.info("server")["process_id"])
    client.config_set("rdb-key-save-delay", 2000)

    def fetch() -> None:
        with replication.snapshot(client, version="", user="", tell=str) as coming:
            coming.read(100)
            os.kill(pid, signal.SIGKILL)
            while coming.read(100_000):
                pass

    with pytest.raises(BackupError, match=r"ended the connection|connection broke"):
        fetch()


def test_it_can_be_stopped_while_the_server_makes_its_snapshot(serve: Serve) -> None:
    client = serve("Valkey", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "20")
    asked = []

    def check() -> None:
        asked.append(True)
        if len(asked) > 3:
            raise JobCancelled("The job was cancelled.")

    with (
        pytest.raises(JobCancelled),
        replication.snapshot(client, version="", user="", tell=str, check=check),
    ):
        pytest.fail("the snapshot began although it was cancelled")


def test_a_server_that_falls_silent_is_not_waited_for_without_end(serve: Serve) -> None:
    client = serve()
    fill(client, keys=500)
    pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", nodes.port_of(client))) as line:
            coming = Snapshot(line, silence=0.2)
            with pytest.raises(BackupError, match="sent nothing for 0 s"):
                coming.line()
            late = Snapshot(line, patience=-1)
            with pytest.raises(BackupError, match="in time"):
                late.line()
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("step", [1, 7, 39, 40, 41, 1000])
def test_the_mark_is_found_however_the_bytes_come(step: int) -> None:
    """Half a mark inside the data is data; what stands behind the mark is not."""
    data = b"begin" + MARK[:39] + b"x" * 500 + MARK[:20] + MARK[:10]
    assert (
        read_from(b"\n\n+FULLRESYNC id 0\r\n\n$EOF:" + MARK + b"\r\n" + data + MARK + b"*1\r\nPING", step)
        == data
    )


@pytest.mark.parametrize("step", [1, 1000])
def test_as_many_bytes_are_read_as_were_announced(step: int) -> None:
    assert read_from(b"\n+FULLRESYNC id 0\r\n$10\r\n0123456789*1\r\n", step) == b"0123456789"
    assert read_from(b"+FULLRESYNC id 0\r\n$0\r\n", step) == b""


@pytest.mark.parametrize("data", [b"$10\r\n012345678", b"$EOF:" + MARK + b"\r\n0123" + MARK[:-1], b"$10"])
def test_less_than_was_announced_is_no_snapshot(data: bytes) -> None:
    with pytest.raises(BackupError, match="before its snapshot was whole"):
        read_from(b"+FULLRESYNC id 0\r\n" + data, 1000)


def test_what_is_no_answer_is_not_read_for_ever() -> None:
    for answer in (b"$EOF:short\r\n", b"$-1\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"x" * 5000):
        with pytest.raises(BackupError, match=r"does not know|no line"):
            read_from(b"+FULLRESYNC id 0\r\n" + answer, 1000)
    with pytest.raises(BackupError, match="made no snapshot: BGSAVE failed"):
        read_from(b"+FULLRESYNC id 0\r\n-BGSAVE failed, replication can't continue\r\n", 1000)


class InPieces:
    """A socket that gives no more than so many bytes at once."""

    def __init__(self, line: socket.socket, step: int) -> None:
        self._line, self._step = line, step
        self.settimeout = line.settimeout

    def recv(self, size: int, /) -> bytes:
        return self._line.recv(min(size, self._step))


def read_from(said: bytes, step: int) -> bytes:
    """What comes of these bytes, received in pieces."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs, suppress(BrokenPipeError):
            theirs.sendall(said)

    thread = threading.Thread(target=send)
    thread.start()
    with ours:
        coming = Snapshot(InPieces(ours, step), silence=60)
        try:
            assert coming.line().startswith(b"+FULLRESYNC")
            coming.begin(coming.line())
            found = b""
            while block := coming.read(64):
                found += block
            return found
        finally:
            ours.close()
            thread.join()
