"""A copy of a Redis role is taken, described and proven, from servers of both products."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pyrage
import pytest
from django.conf import settings
from redis import Redis
from redis.exceptions import ResponseError

from arcweb.backups import taking
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.proving import Console, Copy, Ladder, NotTried
from arcweb.backups.proving.registry import prover_of
from arcweb.backups.redis_rdb import disk, live, prover, scratch
from arcweb.backups.redis_rdb.counts import Contents
from arcweb.backups.redis_rdb.crc64 import Crc64
from arcweb.backups.streams import open_copy, write_copy
from arcweb.backups.taking import Options
from tests.backups.redis.conftest import Serve, again, fill, folder_of, saves_slowly
from tests.cache_admin import nodes
from tests.waiting import until

pytestmark = pytest.mark.django_db

#: Where a backup fails: its row is written on a connection that is looked at first.
TRANSACTIONAL = pytest.mark.django_db(transaction=True)
TYPES = {"string", "list", "set", "zset", "hash", "stream"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    return Path(settings.ARC_BACKUP_DIR)


@pytest.fixture
def state(settings: Any) -> Any:
    """Makes that server the one of the state role."""

    def become(client: Redis, *, user: str = "", password: str = "") -> None:
        login = f"{user}:{password}@" if user or password else ""
        settings.REDIS_STATE_URL = f"redis://{login}127.0.0.1:{nodes.port_of(client)}/3"

    return become


def take(source: str = "redis-state") -> Backup:
    return taking.take(Options(source=source, format="rdb"))


def proven(backup: Backup) -> Ladder:
    ladder = Ladder(Console())
    manifest = Manifest.from_json(backup.manifest)
    prover.prove(Copy(Path(settings.ARC_BACKUP_DIR) / backup.file, manifest, trusted=True), ladder)
    return ladder


def children() -> set[int]:
    """Processes of ours."""
    return {one.pid for one in psutil.Process().children(recursive=True)}


def test_a_copy_from_the_disk_is_taken_described_and_proven(
    serve: Serve, product: str, state: Any, folder: Path
) -> None:
    client = serve(product)
    fill(client)
    state(client)
    running = children()
    backup = take()
    assert backup.state == Backup.State.HASHED
    assert backup.file.startswith("redis-state-")
    assert backup.file.endswith(".rdb.zst")
    assert (folder / backup.file).stat().st_mode & 0o777 == 0o600
    manifest = Manifest.from_json(backup.manifest)
    found = manifest.redis
    assert (found["way"], found["roles"]) == ("disk", ["state"])
    assert found["rdb"]["product"] == manifest.server["product"] == product
    assert found["rdb"]["checksum"] is True
    assert found["rdb"]["server"] == manifest.server["version"]
    assert found["rdb"]["memory"] > 500_000
    kinds = found["contents"]["databases"]
    assert set(kinds) == {"0", "3", "9"}
    assert set(kinds["0"]) == TYPES
    assert kinds["0"]["stream"] == {"keys": 1, "expiring": 0}
    assert kinds["0"]["hash"] == {"keys": 3, "expiring": 1}
    assert kinds["9"] == {"string": {"keys": 3, "expiring": 1}}
    told = {number: one["keys"] for number, one in found["live"]["before"].items()}
    counted = {number: sum(kind["keys"] for kind in one.values()) for number, one in kinds.items()}
    assert told == counted
    assert not found["aof"]["enabled"]
    assert abs((backup.taken_at - manifest.started_at).total_seconds()) < 60  # type: ignore[operator]
    said = [step.sentence for step in proven(backup).steps]
    assert "its own checksum is right" in said[0]
    assert f"{product} {manifest.server['version']} loaded" in said[1]
    assert "as the manifest says" in said[2]
    assert not list((folder / "spool").iterdir())
    until(lambda: children() <= running, what="the end of its servers")


def test_the_registry_finds_both_ways() -> None:
    assert taking.takers.formats("redis-cache") == ["rdb"]
    found = prover_of("rdb")
    assert found is not None
    assert found.path == f"{prover.__name__}.prove"


def test_a_copy_of_a_server_elsewhere_comes_over_the_network(serve: Serve, product: str, state: Any) -> None:
    """With its folder unreadable to us the same server is as good as elsewhere."""
    client = serve(product, password="secret word")
    fill(client)
    client.acl_setuser(
        "backup",
        enabled=True,
        passwords=["+pw/d@"],
        commands=["+info", "+ping", "+psync", "+replconf", "+select", "+client|setname"],
    )
    state(client, user="backup", password="pw%2Fd%40")
    backup = take()
    manifest = Manifest.from_json(backup.manifest)
    assert manifest.redis["way"] == "replication"
    assert manifest.client["tool"] == "PSYNC"
    assert manifest.redis["contents"]["databases"]["0"]["stream"]["keys"] == 1
    assert any("does not say where its file is" in note for note in manifest.notes)
    assert "pw/d@" not in str(backup.manifest)
    assert proven(backup).steps[-1].ok


@TRANSACTIONAL
def test_both_ways_closed_is_a_sentence_with_what_to_grant(serve: Serve, state: Any) -> None:
    client = serve("Valkey")
    client.acl_setuser(
        "looker", enabled=True, passwords=["+pw"], commands=["+info", "+ping", "+select", "+client|setname"]
    )
    state(client, user="looker", password="pw")
    with pytest.raises(
        BackupError, match=r"SETUSER looker \+psync \+sync \+replconf.* is closed, too: .*where its file is"
    ):
        take()
    assert Backup.objects.get().state == Backup.State.FAILED


@TRANSACTIONAL
def test_a_failing_bgsave_is_a_failed_backup_with_nothing_left(
    serve: Serve, product: str, state: Any, folder: Path
) -> None:
    client = serve(product)
    client.set("a", 1)
    state(client)
    shutil.rmtree(folder_of(client))
    with pytest.raises(BackupError, match="BGSAVE failed on the server"):
        take()
    row = Backup.objects.get()
    assert row.state == Backup.State.FAILED
    assert "BGSAVE failed" in row.trouble
    assert not [path.name for path in folder.iterdir() if path.is_file()]


@TRANSACTIONAL
def test_a_server_that_refuses_writes_because_it_could_not_save_is_copied_when_that_is_mended(
    serve: Serve, product: str, state: Any, folder: Path
) -> None:
    client = serve(product)
    client.set("a", 1)
    client.config_set("save", "3600 1")
    state(client)
    in_the_way = folder_of(client) / "dump.rdb"
    in_the_way.mkdir()
    for _ in range(2):
        with pytest.raises(BackupError, match="BGSAVE failed on the server"):
            take()
        with pytest.raises(ResponseError, match="MISCONF"):
            client.set("b", 2)
    in_the_way.rmdir()
    assert take().state == Backup.State.HASHED
    client.set("b", 2)


@TRANSACTIONAL
def test_a_server_that_is_away_is_a_failed_backup(state: Any, settings: Any) -> None:
    settings.REDIS_STATE_URL = f"redis://127.0.0.1:{nodes.free_port()}/0"
    with pytest.raises(BackupError, match="cannot be reached"):
        take()


def test_one_server_for_both_roles_is_copied_once(serve: Serve, state: Any, settings: Any) -> None:
    assert live.sources() == ["redis-cache", "redis-state"]
    client = serve("Valkey")
    state(client)
    settings.REDIS_URL = f"redis://localhost:{nodes.port_of(client)}/0"
    assert live.sources() == ["redis-state"]
    # By the server's own name, where the addresses differ.
    settings.REDIS_URL = f"redis://127.0.0.2:{nodes.port_of(client)}/0"
    client.config_set("bind", "127.0.0.1 127.0.0.2")
    assert live.sources() == ["redis-state"]
    client.set("a", 1)
    manifest = Manifest.from_json(take().manifest)
    assert manifest.redis["roles"] == ["cache", "state"]
    assert "One server has both roles: this copy holds them both." in manifest.notes


def test_keys_past_their_time_are_no_difference(serve: Serve, product: str, state: Any) -> None:
    client = serve(product, "--enable-debug-command", "local")
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 0)  # they are in the snapshot, however late it is
    fill(client)
    for number in range(20):
        client.set(f"soon gone {number}", 1, px=1500)
    state(client)
    backup = take()
    before = Manifest.from_json(backup.manifest).redis["contents"]
    until(lambda: not list(client.scan_iter("soon gone*")), what="the end of their time")
    last = proven(backup).steps[-1]
    assert last.ok
    assert before["loaded"] + before["expired"] == client.dbsize() + 20 + 6


def test_an_aof_is_noted(serve: Serve, product: str, state: Any) -> None:
    client = serve(product, "--appendonly", "yes")
    client.set("a", 1)
    state(client)
    manifest = Manifest.from_json(take().manifest)
    assert manifest.redis["aof"]["enabled"] is True
    assert manifest.redis["aof"]["appendonly"] == "yes"
    assert any("append-only file" in line for line in manifest.restore)


def test_a_copy_without_a_checksum_of_its_own_says_so(serve: Serve, product: str, state: Any) -> None:
    client = serve(product, "--rdbchecksum", "no")
    client.set("a", 1)
    state(client)
    backup = take()
    manifest = Manifest.from_json(backup.manifest)
    assert manifest.redis["rdb"]["checksum"] is False
    assert any("only ours guards this copy" in note for note in manifest.notes)
    assert proven(backup).steps[0].sentence.endswith("it has no checksum of its own.")


def test_a_node_of_a_cluster_says_what_its_copy_lacks(serve: Serve, settings: Any) -> None:
    client = serve("Valkey", "--cluster-enabled", "yes")
    settings.REDIS_STATE_URL = f"redis://127.0.0.1:{nodes.port_of(client)}/0"
    manifest = Manifest.from_json(take().manifest)
    assert any("the data of the other nodes are not in this copy" in note for note in manifest.notes)


@TRANSACTIONAL
def test_a_file_that_somebody_writes_while_it_is_copied_is_no_copy(
    serve: Serve, state: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve("Valkey")
    client.set("a", 1)
    state(client)
    read = disk.SavedFile.read

    def meanwhile(file: disk.SavedFile, size: int = -1) -> bytes:
        os.utime(folder_of(client) / "dump.rdb", (1, 1))
        return read(file, size)

    monkeypatch.setattr(disk.SavedFile, "read", meanwhile)
    with pytest.raises(BackupError, match="changed while it was copied"):
        take()
    assert Backup.objects.get().state == Backup.State.FAILED
    assert not [path.name for path in folder.iterdir() if path.is_file()]


def test_an_empty_server_has_a_copy_too(serve: Serve, product: str, state: Any) -> None:
    state(serve(product))
    backup = take()
    assert Manifest.from_json(backup.manifest).redis["contents"] | {"by": "", "seconds": 0} == {
        "loaded": 0,
        "expired": 0,
        "databases": {},
        "by": "",
        "seconds": 0,
    }
    assert proven(backup).steps[-1].ok


def test_an_encrypted_copy_is_counted_where_its_key_is(
    serve: Serve, state: Any, settings: Any, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    settings.ARC_BACKUP_RECIPIENTS = [str(identity.to_public())]
    client = serve("Valkey")
    fill(client)
    state(client)
    without = Manifest.from_json(take().manifest)
    assert without.file.name.endswith(".rdb.zst.age")
    assert without.redis["contents"] is None
    assert "ARC_BACKUP_IDENTITY_FILE" in without.redis["not_loaded"]
    (tmp_path / "identity").write_text(f"{identity}\n")
    settings.ARC_BACKUP_IDENTITY_FILE = str(tmp_path / "identity")
    manifest = Manifest.from_json(take().manifest)
    assert manifest.redis["contents"]["loaded"] > 50
    assert f"age --decrypt -i IDENTITY_FILE {manifest.file.name} | zstd -d > restored.rdb" in manifest.restore


@TRANSACTIONAL
def test_whoever_cancels_leaves_nothing(serve: Serve, state: Any, folder: Path) -> None:
    client = serve("Valkey")
    client.mset({"a": 1, "b": 2})
    saves_slowly(client)
    state(client)

    class Cancelled(Exception):  # noqa: N818
        pass

    class Context:
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            self.check()

        def check(self) -> None:
            if client.info("persistence")["rdb_bgsave_in_progress"]:
                raise Cancelled

    with pytest.raises(Cancelled):
        taking.take(Options(source="redis-state", format="rdb"), Context())
    assert not [path.name for path in folder.iterdir() if path.is_file()]


class Changed:
    """A proven copy, to be damaged."""

    def __init__(self, folder: Path, client: Redis) -> None:
        backup = take()
        self.manifest = Manifest.from_json(backup.manifest)
        with open_copy(folder / backup.file, compression="zstd") as raw:
            self.rdb = raw.read()

    def prove(self, folder: Path, content: bytes, **redis: Any) -> Ladder:
        """With that content, in a file that is whole for all that its hash says."""
        path = folder / f"changed-{os.urandom(4).hex()}"
        written = write_copy(BytesIO(content), path, compression="zstd", reserve=0)
        file = replace(self.manifest.file, raw_bytes=written.raw_bytes, bytes=written.bytes)
        manifest = replace(self.manifest, file=file, redis={**self.manifest.redis, **redis})
        ladder = Ladder(Console())
        prover.prove(Copy(path, manifest), ladder)
        return ladder


@pytest.fixture
def changed(serve: Serve, product: str, state: Any, folder: Path) -> Changed:
    client = serve(product)
    fill(client)
    state(client)
    return Changed(folder, client)


def test_what_is_damaged_is_found_and_said(changed: Changed, folder: Path) -> None:
    assert changed.prove(folder, changed.rdb).steps[-1].ok
    flipped = bytearray(changed.rdb)
    flipped[len(flipped) // 2] ^= 1
    for rdb, words in (
        (bytes(flipped), "changed after it was written"),
        (changed.rdb[: len(changed.rdb) // 2], "cut"),
        (b"", "it is empty"),
        (b"PGDMP" + bytes(1000), "no RDB file"),
        (changed.rdb + b"more", r"changed|cut"),
    ):
        with pytest.raises(CorruptCopy, match=words):
            changed.prove(folder, rdb)


def test_damage_below_a_right_checksum_is_found_by_the_server(changed: Changed, folder: Path) -> None:
    """As from hardware that fails before the sum is made, or from somebody who makes it anew."""
    broken = bytearray(changed.rdb[:-8])
    place = broken.index(b"short hash")
    broken[place - 2 : place + 10] = b"\xff" * 12
    with pytest.raises(CorruptCopy, match="cannot load it"):
        changed.prove(folder, bytes(broken) + bytes(8))


def test_damage_inside_of_a_value_is_looked_for(changed: Changed, folder: Path) -> None:
    """A server loads it unseen unless it is told to look (sanitize-dump-payload)."""
    place = changed.rdb.index(b"\x81a\x02", changed.rdb.index(b"short hash"))  # an entry of one byte
    broken = changed.rdb[:place] + b"\xbf" + changed.rdb[place + 1 : -8] + bytes(8)  # … of 63
    with pytest.raises(CorruptCopy, match="cannot load it"):
        changed.prove(folder, broken)


@pytest.mark.parametrize(("bytes_", "words"), [(9, "more than the 9 bytes"), (11, "10 bytes, and")])
def test_neither_more_nor_less_than_was_said_is_loaded(bytes_: int, words: str) -> None:
    assert b"".join(scratch.exactly(BytesIO(b"0123456789"), 10)) == b"0123456789"
    with pytest.raises(CorruptCopy, match=words):
        list(scratch.exactly(BytesIO(b"0123456789"), bytes_))


def test_a_manifest_of_another_copy_is_found(changed: Changed, folder: Path) -> None:
    said = changed.manifest.redis
    contents = said["contents"]
    more = {**contents, "loaded": contents["loaded"] + 1}
    with pytest.raises(CorruptCopy, match="its manifest says"):
        changed.prove(folder, changed.rdb, contents=more)
    kinds = {**contents["databases"], "9": {"string": {"keys": 2, "expiring": 0}}}
    with pytest.raises(CorruptCopy, match=r"Database 9 has 1 keys? of type string with"):
        changed.prove(folder, changed.rdb, contents={**contents, "databases": kinds})
    of_zero = contents["databases"]["0"]
    moved = {
        **of_zero,
        "list": {**of_zero["list"], "keys": of_zero["list"]["keys"] - 1},
        "set": {**of_zero["set"], "keys": of_zero["set"]["keys"] + 1},
    }
    with pytest.raises(CorruptCopy, match=r"keys of type list without .* keys of type set without a time"):
        changed.prove(
            folder, changed.rdb, contents={**contents, "databases": {**contents["databases"], "0": moved}}
        )
    with pytest.raises(CorruptCopy, match="The manifest is of an RDB of version 1 by"):
        changed.prove(folder, changed.rdb, rdb={**said["rdb"], "version": 1})
    for nonsense in ({"databases": {"x": {}}}, {"loaded": "many"}, [1], {"databases": {"0": [1]}}):
        with pytest.raises(CorruptCopy, match="cannot be read"):
            Contents.from_json(nonsense)


def test_a_copy_whose_keys_nobody_counted_is_not_called_proven(changed: Changed, folder: Path) -> None:
    with pytest.raises(NotTried, match=r"counts no keys \(No key\.\), .* never counts as proven"):
        changed.prove(folder, changed.rdb, contents=None, not_loaded="No key.")


def test_a_copy_of_a_newer_redis_is_not_called_bad(changed: Changed, folder: Path) -> None:
    newer = b"REDIS0013" + b"\xfa\x09redis-ver\x058.4.0" + b"\xff"
    total = Crc64()
    total.update(newer)
    rdb = newer + total.value.to_bytes(8, "little")
    with pytest.raises(
        NotTried, match=r"written by Redis 8\.4\.0 \(RDB version 13\), which nothing here can read"
    ):
        changed.prove(folder, rdb, rdb={"version": 13, "server": "8.4.0"})


def test_a_copy_that_needs_more_memory_than_there_is_is_not_called_bad(
    changed: Changed, folder: Path
) -> None:
    used = changed.rdb.index(b"used-mem") + len(b"used-mem")
    assert changed.rdb[used] == 0xC2
    greedy = (
        changed.rdb[: used + 1] + (2**31 - 1).to_bytes(4, "little") + changed.rdb[used + 5 : -8] + bytes(8)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcweb.backups.redis_rdb.scratch.usable_memory", lambda: 1024**3)
        with pytest.raises(NotTried, match=r"takes about 2\.7 GB of memory, and 1 GB are free"):
            changed.prove(folder, greedy)


def test_what_a_killed_process_left_is_swept(serve: Serve, state: Any, folder: Path) -> None:
    left = folder / "spool" / "rdb-0123456789ab"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "dump.rdb").write_bytes(b"keys are credentials")
    used = folder / "spool" / "rdb-ba9876543210"
    used.mkdir()
    client = serve("Valkey")
    state(client)
    with (used / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        take()
        assert used.exists(), "somebody works in it"
    assert not left.exists()
    assert again(client).ping()
