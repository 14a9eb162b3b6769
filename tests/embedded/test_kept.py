"""What CONFIG REWRITE wrote outlasts a start of the embedded stack, until the environment says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import redis

from arcweb.embedded.kept import KEEPABLE, Kept, after_start, dumped, loaded, parse, same
from arcweb.embedded.stack import Stack
from cache_admin.server.catalogue import SETTINGS

FIRST = 'maxmemory "256mb"\nmaxmemory-policy "allkeys-lru"\nsave 900 1\nsave 300 10\nport "0"\n'


def valkey(stack: Stack) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(stack.layout.valkey_socket("cache")),
        password=stack.layout.read_secret("redis-password"),
    )


def again(stack: Stack, **options: object) -> Stack:
    """The same data, stopped and started with other options."""
    stack.stop()
    later = Stack(stack.layout, replace(stack.options, **options))
    later.start()
    return later


def test_a_file_is_read_as_the_server_writes_it() -> None:
    text = '# a comment\nsave 900 1\nsave "300" 10\nnotify-keyspace-events ""\nMAXMEMORY 1gb\nbroken "\n'
    assert parse(text) == {"save": "900 1 300 10", "notify-keyspace-events": "", "maxmemory": "1gb"}
    assert same("256mb", "268435456")
    assert not same("256mb", "256m")
    assert not same("", None)


def test_what_was_rewritten_is_kept_with_what_it_replaced() -> None:
    defaults = parse(FIRST)
    present = FIRST.replace("256mb", "512mb") + "timeout 60\nport 6379\nrequirepass x\n"
    kept = after_start({}, defaults, written=FIRST, present=present)
    assert kept == {"maxmemory": Kept("512mb", "256mb"), "timeout": Kept("60", None)}
    assert loaded(dumped(kept)) == kept


def test_a_changed_environment_wins_and_ends_it() -> None:
    kept = {"maxmemory": Kept("512mb", "256mb"), "timeout": Kept("60", None)}
    written = FIRST.replace("256mb", "512mb") + "timeout 60\n"
    same_as_before = after_start(kept, parse(FIRST), written=written, present=written)
    assert same_as_before == kept
    changed = parse(FIRST.replace("256mb", "1gb"))
    assert after_start(kept, changed, written=written, present=written) == {"timeout": Kept("60", None)}


def test_set_back_to_what_the_environment_says_it_is_forgotten() -> None:
    kept = {"maxmemory": Kept("512mb", "256mb")}
    written = FIRST.replace("256mb", "512mb")
    assert after_start(kept, parse(FIRST), written=written, present=FIRST) == {}


def test_nothing_is_learned_without_the_copy_and_nothing_strange_from_a_file() -> None:
    assert after_start({}, parse(FIRST), written="", present="maxmemory 1gb") == {}
    strange = {"port": Kept("6379", None), "unixsocketperm": Kept("777", None)}
    assert after_start(strange, parse(FIRST), written=FIRST, present=FIRST) == {}
    for text in ("", "[]", "null", '{"timeout": 1}', '{"timeout": {}}', "{"):
        assert loaded(text) == {}


def test_every_setting_that_the_page_changes_can_be_kept() -> None:
    assert set(SETTINGS) <= KEEPABLE


def test_a_rewrite_outlasts_restarts_and_the_environment_has_the_last_word(
    throwaway_stack: Callable[..., Stack],
) -> None:
    stack = throwaway_stack(roles=("cache",))
    with valkey(stack) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(256 << 20)
        client.config_set("maxmemory", "300mb")  # without REWRITE: gone at the next start
    stack = again(stack)
    with valkey(stack) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(256 << 20)
        for name in KEEPABLE:  # each setting at another value that the server takes
            value = client.config_get(name).get(name)
            other = {"yes": "no", "no": "yes", "allkeys-lru": "volatile-ttl", "everysec": "always"}
            if value is None or name == "activedefrag":
                continue
            if name == "save":
                new = "100 7 50 9"
            elif name == "notify-keyspace-events":
                new = "xE"
            elif name == "maxclients":
                new = str(int(value) - 1)  # an ordinary user's server gave up the right to more files
            else:
                new = other.get(value) or str(int(value) + 1)
            client.config_set(name, new)
        wanted = {name: client.config_get(name).get(name) for name in KEEPABLE}
        client.config_rewrite()
    for _ in range(2):
        stack = again(stack)
        with valkey(stack) as client:
            assert {name: client.config_get(name).get(name) for name in KEEPABLE} == wanted
            assert client.config_get("port") == {"port": "0"}
    kept = json.loads((stack.layout.valkey_dir("cache") / "kept.json").read_text())
    assert kept["maxmemory"]["instead_of"] == "256mb"
    stack = again(stack, cache_maxmemory="400mb")
    with valkey(stack) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(400 << 20)
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-ttl"
    stack = again(stack, cache_maxmemory="256mb")  # back again: what was overruled stays forgotten
    with valkey(stack) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(256 << 20)
