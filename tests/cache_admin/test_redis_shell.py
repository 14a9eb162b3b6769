"""manage.py redis_shell against a real server: the seed's commands, scripts, and a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from redis import Redis

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_state() -> Iterator[None]:
    """The state role's database of this test process, empty before and after."""
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.flushdb()
        yield
        state.flushdb()


def run(*lines: str) -> str:
    """What the console prints for these lines."""
    out = StringIO()
    call_command("redis_shell", command=list(lines), stdout=out)
    return out.getvalue().rstrip("\n")


#: Every command of the Redis seed, in its order, with what a fresh server answers (a pattern).
SEED = [
    ("PING", "PONG"),
    ("# Store cache entry with TTL", ""),
    ("""SET user:123:profile '{"name":"John"}' EX 3600""", "OK"),
    ("GET user:123:profile", re.escape(r'"{\"name\":\"John\"}"')),
    ("TTL user:123:profile", r"\(integer\) (3600|35\d\d)"),
    ("""SETEX session:abc123 1800 '{"user_id":123,"role":"admin"}'""", "OK"),
    ("GET session:abc123", re.escape(r'"{\"user_id\":123,\"role\":\"admin\"}"')),
    ("DEL session:abc123", r"\(integer\) 1"),
    ("INCR rate:user:123:requests", r"\(integer\) 1"),
    ("EXPIRE rate:user:123:requests 60", r"\(integer\) 1"),
    ("GET rate:user:123:requests", '"1"'),
    ('SET lock:resource:123 "worker-1" NX EX 10', "OK"),
    ('SET lock:resource:123 "worker-2" NX EX 10', r"\(nil\)"),
    ("DEL lock:resource:123", r"\(integer\) 1"),
    ('ZADD leaderboard 100 "player1"', r"\(integer\) 1"),
    ('ZADD leaderboard 150 "player2"', r"\(integer\) 1"),
    ('ZADD leaderboard 120 "player3"', r"\(integer\) 1"),
    (
        "ZREVRANGE leaderboard 0 9 WITHSCORES",
        re.escape('1) "player2"\n2) "150"\n3) "player3"\n4) "120"\n5) "player1"\n6) "100"'),
    ),
    ("INFO", r"# Server[\s\S]+"),
    ("INFO stats", r"# Stats\s[\s\S]+"),
    ("INFO memory", r"# Memory\s[\s\S]+maxmemory_policy:noeviction[\s\S]+"),
    ("CLIENT LIST", r"id=\d+ [\s\S]*name=arcweb-admin[\s\S]+"),
    ("CONFIG GET maxmemory-policy", re.escape('1) "maxmemory-policy"\n2) "noeviction"')),
    ("SLOWLOG GET 10", r"\(empty array\)|1\) 1\) [\s\S]+"),
    ("SAVE", "OK"),
    ("BGSAVE", "Background saving started"),
]


@pytest.mark.usefixtures("own_state")  # nobody else saves there
def test_the_commands_of_the_seed_answer_as_in_redis_cli() -> None:
    for line, pattern in SEED:
        assert re.fullmatch(pattern, run(line)), f"{line}\n{run(line)}"


def test_one_script_is_one_connection() -> None:
    assert run("MULTI", "INCR n", "EXEC") == "OK\nQUEUED\n1) (integer) 1"


def test_a_script_stops_at_the_first_error_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("# a comment\n\nSET a 1\nLPUSH a 2\nSET b 1\n")
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("redis_shell", file=script, stdout=out)
    assert f"{script}, line 4, LPUSH a 2: (error) WRONGTYPE" in str(error.value)
    assert out.getvalue() == "OK\n"
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        assert state.exists("a", "b") == 1


@pytest.mark.parametrize("line", ["AUTH private-word", "CONFIG SET requirepass private-word bad 1"])
def test_a_refused_password_is_not_repeated(line: str) -> None:
    with pytest.raises(CommandError) as error:
        run("PING", line)
    assert "private-word" not in str(error.value)


def test_the_cache_role_is_another_server() -> None:
    out = StringIO()
    call_command("redis_shell", "--role", "cache", "-c", "CONFIG GET maxmemory-policy", stdout=out)
    assert '"allkeys-lru"' in out.getvalue()


@pytest.mark.parametrize(("text", "code"), [("PING\nECHO 'a b'\n", 0), ('PING\nGET "x\n', 1)])
def test_standard_input_is_a_script(text: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "redis_shell"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout.startswith("PONG\n")
    assert "Traceback" not in done.stderr
    if code:
        assert 'standard input, line 2: The " at character 5 is never closed.' in done.stderr
    else:
        assert done.stdout == 'PONG\n"a b"\n'


def test_a_server_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "redis_shell", "-c", "PING"],
        cwd=ROOT,
        env={**os.environ, "REDIS_STATE_URL": "redis://:private-word@127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "localhost:1" in done.stderr
    assert "private-word" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Callable[[str, str], str]]]:
    """Starts redis_shell on a terminal with only `programs` in PATH: say(text, until) types and reads."""
    opened: list[tuple[subprocess.Popen[bytes], int]] = []

    def start(programs: Path) -> Callable[[str, str], str]:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "redis_shell"],
            cwd=ROOT,
            env={**os.environ, "PATH": str(programs), "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        opened.append((process, master))

        def say(text: str, until: str) -> str:
            os.write(master, text.encode())
            seen, end = "", time.monotonic() + 180
            while until not in seen:
                assert time.monotonic() < end, f"no {until!r} in {seen!r}"
                if select.select([master], [], [], 0.2)[0]:
                    seen += os.read(master, 4096).decode(errors="replace")
            return seen

        return say

    yield start
    for process, master in opened:
        process.kill()
        process.wait()
        os.close(master)


def test_a_terminal_without_redis_cli_gets_the_console(
    terminal: Callable[..., Callable[[str, str], str]], tmp_path: Path
) -> None:
    say = terminal(tmp_path)
    assert settings.ARC_LAYOUT.read_secret("redis-password") not in say("", "state> ")
    assert '"a b"' in say('SET k "a b"\nGET k\n', '"a b"\r\nstate> ')
    assert "(error) ERR unknown command" in say("NOPE\n", "(error) ERR unknown command")
    assert "never closed" in say('GET "k\n', "Close it")
    say("SUBSCRIBE news\n", "(integer) 1")
    with Redis.from_url(settings.REDIS_STATE_URL) as state:
        state.publish("news", "hello there")
    say("", '"hello there"')


def test_a_terminal_with_redis_cli_gets_redis_cli_and_no_password_in_its_arguments(
    terminal: Callable[..., Callable[[str, str], str]], tmp_path: Path
) -> None:
    program = tmp_path / "redis-cli"
    # Not Python: the first line of a script cannot name an interpreter in a path with a space.
    program.write_text('#!/bin/sh\necho "$@" "AUTH=$REDISCLI_AUTH" END\n')
    program.chmod(0o755)
    seen = " ".join(terminal(tmp_path)("", "END").split())
    password = settings.ARC_LAYOUT.read_secret("redis-password")
    assert f"-s {settings.ARC_LAYOUT.valkey_socket('state')}" in seen
    assert seen.count(password) == 1
    assert f"AUTH={password}" in seen
