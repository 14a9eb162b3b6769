"""The embedded servers start, stop, survive kill -9 and stale files, and hold what init.sql promises."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import psutil
import psycopg
import pytest
import redis

from arcweb.embedded import binaries
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import Layout
from arcweb.embedded.postgres import PORT, SUPERUSER
from arcweb.embedded.processes import wait_until
from arcweb.embedded.stack import Stack, StackOptions, delete_data
from tests.stack import THROWAWAY, new_layout

ROOT = Path(__file__).resolve().parents[2]
Factory = Callable[..., Stack]


def connect(layout: Layout, *, dbname: str = "arc", user: str = "arc") -> psycopg.Connection:
    password = layout.read_secret("postgres-superuser-password" if user == SUPERUSER else "postgres-password")
    return psycopg.connect(
        host=str(layout.socket_dir), port=PORT, dbname=dbname, user=user, password=password, autocommit=True
    )


def valkey(layout: Layout, role: str) -> redis.Redis:
    return redis.Redis.from_url(layout.redis_url(role))


def fill(layout: Layout) -> None:
    with connect(layout) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 100)")
    valkey(layout, "state").set("kept", "yes")


def assert_filled(layout: Layout) -> None:
    with connect(layout) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row == (100,)
    assert valkey(layout, "state").get("kept") == b"yes"


def pids(stack: Stack) -> list[int]:
    return [server.pid for server in stack.status() if server.pid is not None]


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    """One stack for tests that only look."""
    layout, lock = new_layout()
    stack = Stack(layout, THROWAWAY)
    stack.start()
    yield stack
    stack.destroy()
    lock.close()


@pytest.fixture(scope="module")
def durable() -> Iterator[Stack]:
    """One with the options of `make run`: what it writes is synced, and saved on stop."""
    layout, lock = new_layout()
    options = StackOptions(cache_maxmemory="64mb", cache_policy="allkeys-lfu", dies_with_parent=True)
    stack = Stack(layout, options)
    stack.start()
    yield stack
    Stack(layout, THROWAWAY).destroy()
    lock.close()


class TestSurvival:
    def test_a_stop_keeps_the_data_and_a_second_start_adopts(self, durable: Stack) -> None:
        stack = durable
        fill(stack.layout)
        valkey(stack.layout, "cache").set("saved on stop", "yes")
        running = pids(stack)
        Stack(stack.layout, stack.options).start()
        assert pids(stack) == running, "a running server was started again"
        stack.stop()
        assert pids(stack) == []
        assert not any(alive(pid) for pid in running)
        log = (stack.layout.log_dir / "postgres.log").read_text()
        assert "database system is shut down" in log
        stack.start()
        assert_filled(stack.layout)
        assert valkey(stack.layout, "cache").get("saved on stop") == b"yes"

    def test_kill_9_of_everything_loses_nothing_and_cut_logs_are_loaded(
        self, throwaway_stack: Factory
    ) -> None:
        stack = throwaway_stack()
        fill(stack.layout)
        for pid in pids(stack):
            os.kill(pid, signal.SIGKILL)
        incremental = next((stack.layout.valkey_dir("state") / "appendonlydir").glob("*.incr.aof"))
        with incremental.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")  # cut off in the middle of a command
        told: list[str] = []
        fresh = Stack(stack.layout, stack.options)
        fresh.start(told.append)
        assert_filled(stack.layout)

    def test_pid_files_that_now_name_another_process_are_removed(self, throwaway_stack: Factory) -> None:
        stack = throwaway_stack()
        fill(stack.layout)
        files = [server.pid_file for server in stack.servers]
        kept = [file.read_text() for file in files]
        stack.stop()
        # A process of the servers' own account, which PostgreSQL itself would take for a running server.
        other = subprocess.Popen(["sleep", "60"], **stack.user.popen_options())
        try:
            for file, text in zip(files, kept, strict=True):
                file.write_text("\n".join([str(other.pid), *text.splitlines()[1:]]))
            stack.layout.socket_dir.mkdir(mode=0o700)
            stack.user.take(stack.layout.socket_dir)
            stale = stack.layout.socket_dir / f".s.PGSQL.{PORT}.lock"
            stale.write_text("\n".join([str(other.pid), *kept[0].splitlines()[1:]]))
            assert pids(stack) == []
            stack.start()
            assert_filled(stack.layout)
            assert other.poll() is None, "the other process was touched"
        finally:
            other.kill()
            other.wait()

    def test_an_interrupted_initdb_leaves_nothing_in_the_way(self, throwaway_stack: Factory) -> None:
        stack = throwaway_stack(start=False)
        half = stack.layout.servers_dir / "postgres.new" / "base"
        half.mkdir(parents=True)
        stack.user.take(stack.layout.servers_dir)
        stack.start()
        assert not half.parent.exists()
        assert len(pids(stack)) == 3

    def test_a_frozen_server_is_woken_and_stops_in_order(self, throwaway_stack: Factory) -> None:
        stack = throwaway_stack()
        for pid in pids(stack):
            os.kill(pid, signal.SIGSTOP)
        told: list[str] = []
        stack.stop(told.append)
        assert pids(stack) == []
        assert told == [], "it took more than the polite signal"
        assert "database system is shut down" in stack.postgres.log.read_text()

    def test_servers_die_with_the_process_that_started_them(self) -> None:
        layout, lock = new_layout()
        code = (
            "import sys, time\n"
            "from pathlib import Path\n"
            "from arcweb.embedded.layout import Layout\n"
            "from arcweb.embedded.stack import Stack, StackOptions\n"
            "stack = Stack(Layout(Path(sys.argv[1])), StackOptions(throwaway=True, dies_with_parent=True))\n"
            "stack.start()\n"
            "print(*[server.pid for server in stack.status()], flush=True)\n"
            "time.sleep(60)\n"
        )
        command = [sys.executable, "-c", code, str(layout.data_dir)]
        starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert starter.stdout is not None
        started = [int(pid) for pid in starter.stdout.readline().split()]
        assert len(started) == 3
        starter.kill()
        starter.wait()
        starter.stdout.close()
        assert wait_until(lambda: not any(alive(pid) for pid in started), 60)
        Stack(layout, THROWAWAY).destroy()
        lock.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_as_ordinary_user(data_dir: Path, programs: binaries.Binaries) -> None:
    """In a forked process. As root: becomes nobody, who may not reach this interpreter's files."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    os.chdir(data_dir.parent)
    with patch.object(binaries, "installed", return_value=programs):
        stack = Stack(Layout(data_dir), THROWAWAY)
        assert not stack.user.switches
        stack.start()
        assert all(server.ready for server in stack.status())
        fill(stack.layout)
        stack.stop()
        stack.start()
        assert_filled(stack.layout)
        stack.destroy()


class TestPlaces:
    def test_an_ordinary_user_in_a_path_with_spaces_and_quotes(self) -> None:
        layout, lock = new_layout()
        home = layout.data_dir / "a user's höme"
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, 65534, 65534)
        programs = binaries.for_other_account() if os.getuid() == 0 else binaries.installed()
        process = multiprocessing.get_context("fork").Process(
            target=run_as_ordinary_user, args=(home / "var", programs)
        )
        process.start()
        process.join(240)
        assert process.exitcode == 0
        assert not (home / "var").exists()
        lock.close()
        delete_data(layout)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root starts servers as another account")
    def test_root_with_a_private_data_folder_keeps_the_servers_elsewhere(
        self, throwaway_stack: Factory
    ) -> None:
        stack = throwaway_stack(start=False)
        private = stack.layout.data_dir / "private"
        private.mkdir(mode=0o700)
        inner = Stack(Layout(private / "var"), stack.options)
        try:
            inner.start()
            real = inner.layout.servers_dir.resolve()
            assert inner.layout.servers_dir.is_symlink()
            assert real.stat().st_uid == inner.user.uid
            assert real.stat().st_mode & 0o777 == 0o700
            assert private.stat().st_mode & 0o777 == 0o700, "a folder of root's was opened"
            fill(inner.layout)
            assert_filled(inner.layout)
        finally:
            inner.destroy()
        assert not real.exists()
        assert not inner.layout.socket_dir.exists()


class TestLinksOfTheServersAccount:
    """What that account could put into `servers/` while the servers are stopped."""

    @pytest.mark.parametrize("name", ["valkey-state", "postgres"])
    def test_a_data_folder_that_is_a_link_is_refused_and_its_target_untouched(
        self, throwaway_stack: Factory, tmp_path: Path, name: str
    ) -> None:
        stack = throwaway_stack(start=False)
        target = tmp_path / "etc"
        target.mkdir(mode=0o755)
        stack.layout.servers_dir.mkdir()
        (stack.layout.servers_dir / name).symlink_to(target)
        stack.user.take(stack.layout.servers_dir)
        with pytest.raises(EmbeddedError, match=f"{name} must be a folder that belongs to"):
            stack.start()
        assert (target.stat().st_mode & 0o777, target.stat().st_uid) == (0o755, os.getuid())
        assert list(target.iterdir()) == []

    def test_a_link_made_while_a_server_was_down_stops_its_restart(
        self, throwaway_stack: Factory, tmp_path: Path
    ) -> None:
        stack = throwaway_stack()
        cache = stack.servers[1]
        os.kill(pids(stack)[1], signal.SIGKILL)
        assert wait_until(lambda: cache.exit_reason() is not None, 60)
        (tmp_path / "valkey.pid").write_text("kept")
        cache.folder.rename(cache.folder.with_name("aside"))
        cache.folder.symlink_to(tmp_path)
        with pytest.raises(EmbeddedError, match="must be a folder"):
            cache.start()
        assert (tmp_path / "valkey.pid").read_text() == "kept"
        cache.folder.unlink()

    def test_a_linked_marker_is_neither_read_nor_written(
        self, throwaway_stack: Factory, tmp_path: Path
    ) -> None:
        stack = throwaway_stack()
        marker = stack.layout.real_servers_dir / "initialised"
        marker.unlink()
        (tmp_path / "target").write_text("private")
        marker.symlink_to(tmp_path / "target")
        with pytest.raises(EmbeddedError, match="must be a plain file"):
            stack.postgres.initialise(lambda _message: None)
        assert (tmp_path / "target").read_text() == "private"


class TestWhatInitSqlMakes:
    def test_the_application_is_no_superuser_and_cannot_make_extensions(self, shared: Stack) -> None:
        with connect(shared.layout) as connection:
            row = connection.execute(
                "SELECT rolsuper, rolcreatedb, rolreplication, pg_has_role('pg_monitor', 'member') "
                "FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert row == (False, True, False, True)
            connection.execute("CREATE DATABASE plain TEMPLATE template0")
        with connect(shared.layout, dbname="plain") as connection:
            for extension in ("vector", "file_fdw", "pg_stat_statements"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"CREATE EXTENSION {extension}")

    def test_it_may_tune_memory_and_reload_but_not_set_programs(self, shared: Stack) -> None:
        with connect(shared.layout) as connection:
            connection.execute("ALTER SYSTEM SET work_mem = '7MB'")
            connection.execute("SELECT pg_reload_conf()")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("ALTER SYSTEM SET archive_command = 'touch /tmp/x'")

        def of_a_new_session() -> str:
            with connect(shared.layout) as connection:
                return str(connection.execute("SHOW work_mem").fetchone()[0])

        assert wait_until(lambda: of_a_new_session() == "7MB", 60), "arc.conf overruled ALTER SYSTEM"
        with connect(shared.layout) as connection:
            connection.execute("ALTER SYSTEM RESET work_mem")

    def test_a_database_copied_from_the_template_by_the_application_has_the_extensions(
        self, shared: Stack
    ) -> None:
        with connect(shared.layout) as connection:
            connection.execute("CREATE DATABASE copied TEMPLATE arc_template")
        with connect(shared.layout, dbname="copied") as connection:
            assert connection.execute("SELECT '[1,2]'::vector <=> '[1,2]'").fetchone() == (0.0,)
            connection.execute("SELECT count(*) FROM pg_stat_statements")
            connection.execute("SELECT pg_reload_conf()")
            schemas = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname IN ('agents', 'events')")
            assert schemas.fetchall() == []
        with connect(shared.layout) as connection:
            connection.execute("DROP DATABASE copied WITH (FORCE)")

    def test_the_schemas_belong_to_the_application(self, shared: Stack) -> None:
        with connect(shared.layout) as connection:
            rows = connection.execute(
                "SELECT nspname, nspowner::regrole::text FROM pg_namespace "
                "WHERE nspname IN ('agents', 'events') ORDER BY 1"
            ).fetchall()
        assert rows == [("agents", "arc"), ("events", "arc")]

    def test_it_runs_again_without_harm_and_no_password_is_logged(self, shared: Stack) -> None:
        (shared.layout.servers_dir / "initialised").unlink()
        told: list[str] = []
        shared.postgres.initialise(told.append)
        assert told == ["Creating roles and databases"]
        log = shared.postgres.log.read_text()
        with connect(shared.layout, user=SUPERUSER) as connection:
            statements = str(connection.execute("SELECT query FROM pg_stat_statements").fetchall())
        for name in ("postgres-password", "replication-password", "postgres-superuser-password"):
            assert shared.layout.read_secret(name) not in log + statements

    def test_the_cluster_is_ready_for_physical_backups(self, shared: Stack) -> None:
        wanted = {
            "wal_level": "replica",
            "archive_mode": "on",
            "summarize_wal": "on",
            "data_checksums": "on",
            "listen_addresses": "",
            "password_encryption": "scram-sha-256",
        }
        with connect(shared.layout) as connection:
            rows = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(wanted)]
            ).fetchall()
            locale = connection.execute(
                "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        assert dict(rows) == wanted
        assert locale == ("b", "C.UTF-8")

    def test_no_server_takes_a_wrong_password_or_listens_on_the_network(self, shared: Stack) -> None:
        layout = shared.layout
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host=str(layout.socket_dir), dbname="arc", user="arc", password="wrong")
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(unix_socket_path=str(layout.valkey_socket("state")), password="wrong").ping()
        for pid in pids(shared):
            assert [c for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"] == []


class TestValkeyRoles:
    def test_each_role_has_its_policy(self, durable: Stack) -> None:
        cache, state = valkey(durable.layout, "cache"), valkey(durable.layout, "state")
        assert cache.config_get("maxmemory*")["maxmemory"] == str(64 * 1024 * 1024)
        assert cache.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lfu"}
        assert state.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert state.config_get("appendonly") == {"appendonly": "yes"}
        for client in (cache, state):
            assert client.config_get("save") == {"save": "900 1 300 10 60 10000"}
            assert client.save()
            assert client.bgsave()

    def test_files_are_private(self, shared: Stack) -> None:
        for role in ("cache", "state"):
            folder = shared.layout.valkey_dir(role)
            assert (folder / "valkey.conf").stat().st_mode & 0o777 == 0o600
            assert folder.stat().st_mode & 0o777 == 0o700
        assert shared.layout.socket_dir.stat().st_mode & 0o777 == 0o700
