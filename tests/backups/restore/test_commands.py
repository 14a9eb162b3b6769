"""manage.py backup restore, undo, recover and erase: on a bad day, without web and workers."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import OutputWrapper
from django.db import connections
from psycopg import sql

from agents.models import Agent
from arcweb import paused
from arcweb.accounts.models import UserSession
from arcweb.backups import erasures, taking
from arcweb.backups.commands.restore import Restore
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import asking, databases
from arcweb.backups.restore.journal import FINISHED, PREPARING, Journal
from arcweb.backups.restore.running import folder
from arcweb.jobs.models import Job
from tests.backups.restore.conftest import World, drop, superuser

pytestmark = pytest.mark.django_db(transaction=True)


def backup(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what --json printed."""
    out = StringIO()
    try:
        call_command("backup", *arguments, "--json", stdout=out, stderr=StringIO())
    except SystemExit as end:
        return int(end.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def set_by_superuser(world: World) -> None:
    """What this application's role may not carry over."""
    with superuser() as above:
        live = sql.Identifier(world.live)
        above.execute(sql.SQL("ALTER DATABASE {} SET log_temp_files TO '1MB'").format(live))


def test_a_restore_and_its_undo(world: World) -> None:
    first = world.oid()
    Agent.objects.filter(name="Agent 0").delete()
    set_by_superuser(world)

    code, said = backup("restore", world.copies["custom"][:12], "--confirm", "not-this-one")
    assert (code, said["ok"]) == (1, False)
    assert "type the name" in said["error"]
    assert not folder().all(), "nothing was begun"

    code, said = backup("restore", world.copies["custom"][:12], "--confirm", world.live)
    assert (code, said["state"]) == (0, FINISHED), said
    assert Agent.objects.filter(name="Agent 0").exists()
    assert said["before"]
    assert [step["state"] for step in said["steps"]] == ["done"] * 10
    kept, end = (
        datetime.fromisoformat(one) for one in (said["keep_until"], said["steps"][-1]["finished_at"])
    )
    assert kept - end >= timedelta(days=1), "from the exchange on, not from when it was prepared"
    assert not paused.is_on(world.backups)
    left = f"""ALTER DATABASE "{world.live}" SET "log_temp_files" TO '1MB';"""
    assert said["by_hand"] == [{"what": "the setting log_temp_files", "statement": left}]
    shown = StringIO()
    Restore().show(said, OutputWrapper(shown))
    assert shown.getvalue().splitlines()[1:] == [
        f"To be run by hand by a superuser, connected to {world.live}:",
        "-- the setting log_temp_files",
        left,
    ]

    older = replace(folder().all()[0], id=str(uuid.uuid4()), created_at="2026-01-01T00:00:00+00:00")
    folder().write(older)
    killed = Journal.begin("restore", live=world.live, actor={})
    killed.state = PREPARING
    folder().write(killed)
    code, said = backup("undo", "--confirm", "not-this-one")
    assert code == 1
    assert "type the name" in said["error"]
    assert not folder().unfinished(), "what was left is settled before"
    assert world.oid() != first
    code, said = backup("undo", "--confirm", world.live)
    assert (code, said["kind"]) == (0, "undo"), said
    assert world.oid() == first
    assert not paused.is_on(world.backups)
    (folder().path / f"{older.id}.json").unlink()
    code, said = backup("undo", "--confirm", world.live)
    assert code == 1
    assert "no restore that can be undone" in said["error"]
    [undone] = [one for one in folder().all() if one.undone_at]
    with pytest.raises(BackupError, match="That restore cannot be undone"):
        asking.undo(undone, {})

    with folder().locked("another"):
        code, said = backup("restore", world.copies["custom"], "--confirm", world.live)
    assert code == 3


def test_into_a_database_of_its_own(world: World) -> None:
    first, name = world.oid(), f"{world.live}_own"
    set_by_superuser(world)
    erasures.order(world.backups, "agent", {"id": str(Agent.objects.get(name="Agent 1").pk)})
    code, said = backup("restore", world.copies["custom"], "--to-database", name)
    assert (code, said["state"], said["database"]) == (0, FINISHED, name), said
    assert world.oid() == first
    assert said["by_hand"] == []
    assert "by hand" not in said["steps"][4]["sentence"], "it takes nothing over, and no place of live's"
    with databases.connected(name) as own:
        assert own.execute("SELECT count(*) FROM agents.agents").fetchone() == (2,), "one was erased since"
    code, said = backup("restore", world.copies["custom"], "--to-database", name)
    assert code == 1
    assert "already; choose a name that none has" in said["error"]
    assert len(folder().all()) == 1, "nothing was begun"


def test_the_database_is_gone_and_comes_back_from_the_folder_alone(world: World) -> None:
    anna = User.objects.get(username="anna")
    UserSession.objects.create(key_hash="a" * 64, user=anna)
    copy, later = (str(taking.take(taking.Options()).pk) for _ in range(2))
    connections.close_all()
    drop(world.live)
    code, said = backup("restore", copy, "--confirm", world.live)
    assert (code, said["state"]) == (0, FINISHED), said
    assert Agent.objects.count() == 3
    from arcweb.backups.models import Backup

    states = {str(pk): state for pk, state in Backup.objects.values_list("pk", "state")}
    assert states == dict.fromkeys(world.copies.values(), "hashed") | dict.fromkeys(
        (copy, later), "written"
    ), "the catalogue is made anew from the manifests, with the copy itself, which was being taken then"
    assert set(Job.objects.values_list("state", flat=True)) == {"interrupted"}, "no job of then runs today"
    assert UserSession.objects.get().ended_reason == "restored", "no session of then lets anybody in"
    assert backup("undo", "--confirm", world.live)[0] == 1, "there is nothing of before"


def test_live_that_lets_nobody_in_gives_its_place(world: World) -> None:
    first = world.oid()
    connections.close_all()
    with databases.connected(databases.MAINTENANCE) as outside:
        databases.allow(outside, world.live, connections_=False)
    code, said = backup("restore", world.copies["custom"], "--confirm", world.live, "--live-is-broken")
    assert (code, said["state"]) == (0, FINISHED), said
    assert world.oid() != first
    assert said["safety"] == ""
    assert set(Job.objects.values_list("state", flat=True)) == {"interrupted"}


def test_nothing_to_recover_and_an_erasure(world: World) -> None:
    assert backup("recover") == (0, {"ok": True, "settled": []})
    agent = Agent.objects.get(name="Agent 2")
    code, said = backup("erase", "--agent", str(agent.pk))
    assert code == 0
    assert said["erased"] == ["Erased an agent with its memories: 1 row."]
    assert not Agent.objects.filter(pk=agent.pk).exists()
    assert backup("erase", "--metadata", "{}")[0] == 1
    code, said = backup("erase", "--agent", "nobody")
    assert code == 1
    assert "'nobody' is no agent's id" in said["error"]
    assert len(backup("erase")[1]["ordered"]) == 1
