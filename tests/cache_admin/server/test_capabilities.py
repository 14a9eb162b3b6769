"""What a server allows is known without doing any of it, and what it forbids has a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from cache_admin import connections
from cache_admin.server import capabilities as asked
from cache_admin.server.capabilities import PROBES, capabilities, forget, identify
from tests.cache_admin.conftest import rules_known
from tests.stack import PRODUCT


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def restricted(settings: Any) -> Iterator[Redis]:
    """The cache role seen as a user who may read keys and INFO, and nothing an operator does."""
    with connections.client("cache") as admin:
        yield from _user(admin, settings, "+@read", "+@connection", "+info", "+@transaction")


def _user(admin: Redis, settings: Any, *rules: str) -> Iterator[Redis]:
    admin.execute_command(
        "ACL SETUSER", "viewer", "reset", "on", ">secret", "~*", *rules_known(admin, *rules)
    )
    known = settings.REDIS_URL
    settings.REDIS_URL = known.replace("//:", "//viewer:").replace(
        known.split("://:")[1].split("@")[0], "secret"
    )
    yield admin
    admin.execute_command("ACL DELUSER", "viewer")


def test_the_server_is_known_and_allows_everything() -> None:
    found = capabilities("cache")
    with connections.client("cache") as client:
        info = client.info("server")
    assert (found.product, found.mode) == (PRODUCT, "standalone")
    assert found.version == info["redis_version" if PRODUCT == "Redis" else "valkey_version"]
    lacking = set() if PRODUCT == "Valkey" else {"COMMANDLOG", "COMMANDLOG LEN", "COMMANDLOG RESET"}
    assert set(found.reasons) == {"CLUSTER", "SENTINEL"} | lacking
    if lacking:
        assert "does not know COMMANDLOG: Valkey has it from 8.1 on" in found.why_not("COMMANDLOG")
    assert found.why_not("monitor") == found.why_not("SLOWLOG GET") == ""
    assert "no Sentinel" in found.why_not("SENTINEL")
    with pytest.raises(KeyError, match="PROBES"):
        found.why_not("KEYS")


@pytest.mark.usefixtures("own_cache")  # whose calls are counted
def test_asking_does_nothing() -> None:
    with connections.client("cache") as client:
        client.set("arcweb:test:here", "1")
        saved, before = client.lastsave(), client.info("commandstats")
        capabilities("cache")
        after = client.info("commandstats")
        assert client.get("arcweb:test:here") == b"1"
        assert client.lastsave() == saved
        for name in ("cmdstat_flushdb", "cmdstat_monitor", "cmdstat_bgsave", "cmdstat_config|rewrite"):
            assert after.get(name, {}).get("calls", 0) == before.get(name, {}).get("calls", 0)
        client.delete("arcweb:test:here")


def test_a_restricted_user_learns_why(restricted: Redis) -> None:
    found = capabilities("cache")
    assert found.user == "viewer"
    assert found.product == PRODUCT
    assert "forbids MONITOR to the user viewer" in found.why_not("MONITOR")
    assert "+config|set" in found.why_not("CONFIG SET")
    assert "REDIS_URL" in found.why_not("FLUSHDB")
    assert found.why_not("INFO") == found.why_not("SCAN") == found.why_not("MEMORY USAGE") == ""
    assert "secret" not in repr(found)


def test_dryrun_and_a_discarded_transaction_agree(restricted: Redis) -> None:
    """Every command that both can tell about: the second way serves users who may not send DRYRUN."""
    by_transaction = set(capabilities("cache").reasons)
    commands = [(*command.split(), *words) for command, words in PROBES.items()]
    tried = asked._tried(restricted, "viewer", commands)
    assert tried is not None
    by_dryrun = {command for command, answer in zip(PROBES, tried, strict=True) if answer}
    assert by_dryrun - by_transaction <= {"SAVE", "PSUBSCRIBE"}  # no transaction may hold these
    assert by_transaction - by_dryrun <= {"SENTINEL", "CLUSTER"}


@pytest.mark.parametrize("rules", [("+@read",), ("+get", "+ping")])
def test_without_transactions_nothing_is_done_and_reads_are_tried(
    settings: Any, rules: tuple[str, ...]
) -> None:
    with connections.client("cache") as admin:
        admin.set("arcweb:test:here", "1")
        for _ in _user(
            admin, settings, *rules, "+ping", "+select", "+client|setname", "+client|setinfo", "-acl"
        ):
            found = capabilities("cache")
            assert "ACL" in found.why_not("CONFIG GET")
            assert admin.get("arcweb:test:here") == b"1"
        admin.delete("arcweb:test:here")


@pytest.mark.usefixtures("own_cache")  # nobody else saves there
def test_a_mighty_user_without_transactions_deletes_nothing(settings: Any) -> None:
    """Every command is allowed but those that would hold the probes back."""
    with connections.client("cache") as admin:
        admin.set("arcweb:test:here", "1")
        saved = admin.info("persistence")["rdb_last_save_time"]
        for _ in _user(admin, settings, "+@all", "-multi", "-acl"):
            found = capabilities("cache")
            assert found.why_not("FLUSHDB") == ""
            assert admin.get("arcweb:test:here") == b"1"
            assert admin.info("persistence")["rdb_last_save_time"] == saved
        admin.delete("arcweb:test:here")


def test_the_real_version_is_told() -> None:
    assert identify({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.0"}) == (
        "Valkey",
        "8.1.0",
    )
    assert identify({"redis_version": "7.4.1"}) == ("Redis", "7.4.1")


def test_answers_are_kept_for_a_minute_and_by_address() -> None:
    first = capabilities("state")
    assert capabilities("state") is first
    forget()
    assert capabilities("state") is not first
    assert connections.url("state") == settings.REDIS_STATE_URL
