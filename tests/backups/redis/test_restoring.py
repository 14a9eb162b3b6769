"""A copy of Redis is put back: on the embedded stack by job and command, for other servers by exact steps."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from redis import Redis
from redis.exceptions import ResponseError

from arcweb.backups import taking
from arcweb.backups.exceptions import BackupError, CorruptCopy, LockedOut
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.redis_rdb import instructions, live, restoring
from arcweb.backups.restore.journal import Folder
from arcweb.backups.taking import Options
from arcweb.embedded.stack import Stack
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.backups.redis.conftest import PROGRAMS, fill
from tests.cache_admin import nodes
from tests.people import client_of
from tests.stack import REDIS_SERVER
from tests.waiting import until

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(bool(REDIS_SERVER), reason="the embedded stack is Valkey"),
]


@pytest.fixture
def stack(throwaway_stack: Callable[..., Stack], settings: Any, tmp_path: Path) -> Stack:
    """An embedded stack of Redis alone that the settings describe, with its state role filled."""
    found = throwaway_stack(postgres=False)
    settings.ARC_EMBEDDED = True
    settings.ARC_LAYOUT = found.layout
    settings.REDIS_URL = found.layout.redis_url("cache")
    settings.REDIS_STATE_URL = found.layout.redis_url("state")
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    fill(client(found))
    return found


@pytest.fixture
def elsewhere(settings: Any) -> None:
    """The roles are served by servers of others."""
    settings.ARC_EMBEDDED = False


def client(stack: Stack, role: str = "state") -> Redis:
    return Redis.from_url(stack.layout.redis_url(role), protocol=2)


def take(source: str = "redis-state") -> Backup:
    return taking.take(Options(source=source, format="rdb"))


def restore(backup: Backup, role: Any = "state", **more: Any) -> restoring.Done:
    return restoring.restore(backup, role, **{"id_": uuid.uuid4(), "by": "a test", "tell": str, **more})


def test_what_was_is_again_and_what_is_was_copied_first(stack: Stack) -> None:
    backup = take()
    keys = client(stack).dbsize()
    client(stack).flushall()
    client(stack).set("newer", 1)
    done = restore(backup)
    assert client(stack).dbsize() == keys
    assert client(stack).xinfo_groups("stream")[0]["name"] == b"group"
    assert 0 < client(stack).ttl("for an hour") <= 3600
    assert client(stack).info("persistence")["aof_enabled"] == 1
    assert client(stack).info("persistence")["aof_last_bgrewrite_status"] == "ok"
    assert done.safety is not None
    assert done.safety.trigger == Backup.Trigger.SAFETY
    kinds = list(Event.objects.filter(object_id=str(backup.pk)).values_list("kind", flat=True))
    assert {"redis.restore_started", "redis.restored"} <= set(kinds)
    # And back again.
    restore(done.safety)
    assert client(stack).keys("*") == [b"newer"]


def test_the_same_attempt_twice_exchanges_once(stack: Stack) -> None:
    backup, attempt = take(), uuid.uuid4()
    restore(backup, id_=attempt)
    client(stack).set("written since", 1)
    again = restore(backup, id_=attempt)
    assert client(stack).get("written since") == b"1"
    assert again.keys > 50
    assert Event.objects.filter(kind="redis.restored", object_id=str(backup.pk)).count() == 1


def test_a_damaged_copy_reaches_nothing(stack: Stack) -> None:
    backup = take()
    path = Path(settings.ARC_BACKUP_DIR) / backup.file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    client(stack).set("newer", 1)
    with pytest.raises(CorruptCopy, match="damaged"):
        restore(backup)
    assert client(stack).get("newer") == b"1"
    assert Event.objects.filter(kind="redis.restore_failed", object_id=str(backup.pk)).exists()


def test_whoever_stops_it_before_the_exchange_leaves_everything_as_it_is(stack: Stack) -> None:
    backup = take()
    client(stack).set("newer", 1)

    class Stopped(Exception):  # noqa: N818
        pass

    def tell(words: str) -> None:
        if "append-only" in words:
            raise Stopped

    with pytest.raises(Stopped):
        restore(backup, tell=tell)
    server = live.embedded("state")
    assert server is not None
    assert not server.place.incoming.exists()
    assert client(stack).get("newer") == b"1"
    assert restore(backup).keys > 50


def test_what_is_no_copy_of_redis_and_what_comes_beside_another_restore_is_refused(stack: Stack) -> None:
    client(stack).set("newer", 1)
    dump = Backup.objects.create(source="postgres", format="custom", state="failed", trouble="x")
    with pytest.raises(BackupError, match="is no copy of Redis"):
        restore(dump)
    backup = take()
    with Folder(settings.ARC_BACKUP_DIR).locked("a restore"), pytest.raises(LockedOut, match="under way"):
        restore(backup)
    assert client(stack).get("newer") == b"1"
    assert not Event.objects.filter(kind="redis.restore_started", object_id=str(backup.pk)).exists()


@pytest.mark.django_db(transaction=True)
def test_without_a_safety_copy_nothing_is_exchanged(stack: Stack) -> None:
    backup = take()
    client(stack).set("newer", 1)
    client(stack).config_set("save", "3600 1")
    (stack.layout.real_servers_dir / "valkey-state" / "dump.rdb").unlink()
    (stack.layout.real_servers_dir / "valkey-state" / "dump.rdb").mkdir()
    with pytest.raises(BackupError, match="No safety copy of what is live could be taken"):
        restore(backup)
    # Since then it refuses writes, and PING with them. It has its data still.
    with pytest.raises(ResponseError, match="MISCONF"):
        client(stack).ping()
    with pytest.raises(BackupError, match="No safety copy of what is live could be taken"):
        restore(backup)
    assert client(stack).get("newer") == b"1"
    server = live.embedded("state")
    assert server is not None
    assert not server.place.incoming.exists()


def test_a_server_that_loads_its_data_is_waited_for_and_copied(stack: Stack) -> None:
    server = live.embedded("state")
    assert server is not None
    with client(stack) as state:
        state.mset({f"read for a while {one}": os.urandom(2000) for one in range(100)})
        state.bgrewriteaof()
        until(lambda: not state.info("persistence")["aof_rewrite_in_progress"], what="the rewrite")
    server.stop(lambda words: None)
    server.prepare(lambda words: None)
    with (server.folder / "valkey.conf").open("a") as file:
        file.write("key-load-delay 20000\nloading-process-events-interval-bytes 1024\n")  # µs for each key
    server.start()
    until(lambda: server.state() == "starting", what="its loading")
    said: list[str] = []
    safety = restoring._safety_copy("state", said.append)
    assert said[0] == "waiting until what is live is loaded"
    assert safety is not None, "its data, which it has not read yet, would be replaced without a copy"
    keys = sum(found["keys"] for found in client(stack).info("keyspace").values())
    assert Manifest.from_json(safety.manifest).redis["contents"]["loaded"] == keys


def test_a_server_without_a_place_for_another_client_is_not_replaced(stack: Stack) -> None:
    backup, server = take(), live.embedded("state")
    assert server is not None
    with client(stack) as kept:
        kept.set("newer", 1)
        kept.config_set("maxclients", 1)
        for _ in range(8):  # its refusal is read, or the connection is gone before the login is written
            with pytest.raises(BackupError, match=r"nothing is exchanged.*no place for another client"):
                restoring._answers("state", lambda words: None)
        with pytest.raises(BackupError, match=r"nothing is exchanged.*no place for another client"):
            restore(backup)
        assert kept.get("newer") == b"1"
        assert not server.place.incoming.exists()


def test_a_server_that_does_not_start_any_more_is_replaced_and_its_files_kept(stack: Stack) -> None:
    backup = take()
    stack.stop()
    base = next((stack.layout.real_servers_dir / "valkey-state" / "appendonlydir").glob("*.base.rdb"))
    base.write_bytes(b"damaged")
    done = restore(backup)
    assert done.safety is None
    assert client(stack).xlen("stream") == 2
    server = live.embedded("state")
    assert server is not None
    assert str(server.place.aside) in done.sentence
    assert (server.place.aside / "appendonlydir" / base.name).read_bytes() == b"damaged"


def test_the_command_asks_for_the_role_and_does_it(stack: Stack) -> None:
    backup = take("redis-cache")
    short = str(backup.pk)[:8]
    with pytest.raises(SystemExit) as ended:
        call_command("backup", "restore-redis", short, stderr=(err := io.StringIO()))
    assert ended.value.code == 1
    assert "--confirm cache" in err.getvalue()
    call_command(
        "backup", "restore-redis", short, "--confirm", "cache", "--json", stdout=(out := io.StringIO())
    )
    assert json.loads(out.getvalue())["restored"] is True
    with pytest.raises(SystemExit):
        call_command("backup", "restore-redis", "ffffffff", stderr=(err := io.StringIO()))
    assert "There is no copy of Redis 'ffffffff'" in err.getvalue()


def test_the_page_needs_the_typed_role_and_makes_one_job(stack: Stack) -> None:
    backup = take()
    page = f"/backups/{backup.pk}/restore-redis/"
    assert client_of("operator").get(page).status_code == 403
    browser = client_of("administrator")
    shown = browser.get(page).content.decode()
    assert "Everything in the state role" in shown
    assert "safety copy" in shown
    assert "redis-password" not in shown
    assert browser.post(page, {"role": "state", "typed": "cache"}).status_code == 400
    assert not Job.objects.filter(kind="backup-restore-redis").exists()
    assert browser.post(page, {"role": "state", "typed": "state"}).status_code == 302
    job = Job.objects.get(kind="backup-restore-redis")
    assert job.params["role"] == "state"
    asked = Event.objects.get(kind="redis.restore_asked", object_id=str(backup.pk))
    assert asked.data["role"] == "state"
    assert "Follow it" in browser.get(page).content.decode()
    assert "Put Redis back" not in client_of("viewer").get(f"/backups/{backup.pk}/").content.decode()
    described = browser.get(f"/backups/{backup.pk}/").content.decode()
    assert page in described
    assert "written by Valkey" in described
    Backup.objects.filter(pk=backup.pk).update(state="bad")
    assert browser.post(page, {"role": "state", "typed": "state"}).status_code == 404


def test_for_servers_of_others_the_steps_are_shown_and_nothing_is_done(
    stack: Stack, elsewhere: None, settings: Any
) -> None:
    backup = take()
    page = f"/backups/{backup.pk}/restore-redis/"
    browser = client_of("administrator")
    shown = browser.get(page).content.decode()
    assert "a server that this program does not run" in shown
    assert f"zstd -d &lt; {backup.file} &gt; restored.rdb" in shown
    assert "docker compose stop redis-state" in shown
    assert browser.post(page, {"role": "state", "typed": "state"}).status_code == 409
    assert not Job.objects.filter(kind="backup-restore-redis").exists()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "backup", "restore-redis", str(backup.pk), "--confirm", "state", stdout=(out := io.StringIO())
        )
    assert ended.value.code == 4
    assert "--appendonly no" in out.getvalue()
    assert Manifest.from_json(backup.manifest).file.name in out.getvalue()


@pytest.mark.parametrize("aof", [True, False])
def test_the_steps_by_hand_do_what_they_say(stack: Stack, tmp_path: Path, aof: bool) -> None:
    """Run as they stand, in a shell, with the product's own programs."""
    if not PROGRAMS["Redis"] or not shutil.which("redis-cli"):
        pytest.skip("redis-server and redis-cli are not installed")
    appendonly = "yes" if aof else "no"
    folder = tmp_path / "server"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "REDIS_SERVER", PROGRAMS["Redis"])
        with nodes.serving(folder, "--appendonly", appendonly) as other:
            other.set("which", "copied")
            other.execute_command("SAVE")
            shutil.copy(folder / "dump.rdb", tmp_path / "restored.rdb")
            other.set("which", "newer")
            other.shutdown(save=True)
        shutil.move(tmp_path / "restored.rdb", folder / "restored.rdb")
        script = instructions.script(str(folder), aof=aof)
        subprocess.run(["sh", "-euc", script], check=True, timeout=60, capture_output=True)
        with nodes.serving(folder, "--appendonly", appendonly) as other:
            assert other.get("which") == "copied"
    assert (folder / "before-restore" / "dump.rdb").exists()
    assert (folder / "before-restore" / "appendonlydir").exists() == aof
