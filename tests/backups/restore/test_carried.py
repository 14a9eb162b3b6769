"""What live knows better than an older copy, after that copy took its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.utils import timezone
from psycopg import sql

from agents.models import Agent
from arcweb.accounts.models import LoginThrottle, UserSession
from arcweb.backups import erasures, taking
from arcweb.backups.models import Backup, Retention, Schedule
from arcweb.backups.restore import asking, databases, doing
from arcweb.backups.restore.carry import by_hand
from arcweb.backups.restore.journal import FINISHED
from arcweb.backups.restore.source import of_backup
from arcweb.events import record
from arcweb.events.models import Alert, Event, EventDetail
from arcweb.jobs.models import Job
from memories.models import Document, Memory
from tests.backups.restore.conftest import WHO, World, superuser
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def test_accounts_events_catalogue_and_alerts_stay_as_they_were_live(world: World) -> None:
    with superuser() as above:  # a setting of live alone makes no stranger of its copy
        above.execute(
            sql.SQL("ALTER DATABASE {} SET timezone TO 'Asia/Tokyo'").format(sql.Identifier(world.live))
        )
    anna, bert, carl = (User.objects.get(username=name) for name in ("anna", "bert", "carl"))
    anna.set_password("changed since the copy")
    anna.save()
    User.objects.filter(pk=bert.pk).update(is_active=False, username="bertrand")
    record("user.deleted", obj=carl)
    carl.delete()
    dora = User.objects.create_user("dora", password="newer than the copy")
    dora.groups.add(Group.objects.get(name="viewer"))
    # The name of one who was renamed goes to somebody else.
    User.objects.create_user("bert", password="another bert altogether")
    browser = Client()
    browser.force_login(dora)
    assert UserSession.objects.filter(ended_at=None).count() == 1
    LoginThrottle.objects.create(account="a" * 64, failures=5)
    record("agent.changed", object_type="agents.agent", object_id="1", label="newer than the copy")
    erased = Event.objects.filter(kind="agent.added").latest("id")
    EventDetail.objects.filter(event_id=erased.id).delete()
    facts = set(Event.objects.values_list("occurred_at", "id", "kind"))
    Retention.objects.create(last=30)
    figures = {"unit": "", "severity": "bad", "fires": "above", "threshold": 1, "value": 2, "worst": 2}
    Alert.objects.create(alarm="x", title="x", room="x", since=timezone.now(), sentence="x", **figures)
    newer = Backup.objects.create(
        source="postgres", format="custom", state="failed", trouble="newer than the copy"
    )

    journal = world.restore()
    assert journal.state == FINISHED

    kept = User.objects.get(pk=anna.pk)
    assert kept.check_password("changed since the copy")
    assert not User.objects.get(pk=bert.pk).is_active
    assert User.objects.get(pk=bert.pk).username == "bertrand"
    assert User.objects.get(username="bert").pk != bert.pk
    assert not User.objects.get(username="carl").is_active, "whom live had deleted comes back without access"
    assert [group.name for group in User.objects.get(username="dora").groups.all()] == ["viewer"]
    assert User.objects.create_user("emil").pk > dora.pk
    assert LoginThrottle.objects.filter(failures=5).exists()

    assert not Session.objects.exists()
    ended = UserSession.objects.get()
    assert (ended.ended_reason, ended.user.username) == ("restored", "dora")

    after = set(Event.objects.values_list("occurred_at", "id", "kind"))
    assert facts <= after
    assert {kind for *_, kind in after - facts} == {"restore.started", "backup.taken", "restore.swapped"}
    assert EventDetail.objects.filter(label="newer than the copy").count() == 1
    assert not EventDetail.objects.filter(event_id=erased.id).exists(), (
        "what was erased of an event stays erased"
    )

    assert Backup.objects.get(pk=newer.pk).trouble == "newer than the copy"
    assert set(Backup.objects.values_list("pk", flat=True)) >= {world.backup().pk, newer.pk}
    assert Retention.objects.get().last == 30
    assert Alert.objects.filter(alarm="x", state="firing").exists()
    assert set(Job.objects.values_list("state", flat=True)) == {"interrupted"}


def test_people_who_took_over_each_others_names_keep_them(world: World) -> None:
    anna, bert = (User.objects.get(username=name) for name in ("anna", "bert"))
    for who, name in ((anna, "between"), (bert, "anna"), (anna, "bert")):
        User.objects.filter(pk=who.pk).update(username=name)
    world.restore()
    assert User.objects.get(username="anna").pk == bert.pk
    assert User.objects.get(username="bert").pk == anna.pk
    assert User.objects.get(username="bert").check_password("the first of anna")


def test_who_took_over_the_name_of_somebody_deleted_keeps_it(world: World) -> None:
    anna, carl = (User.objects.get(username=name) for name in ("anna", "carl"))
    carl.delete()
    User.objects.filter(pk=anna.pk).update(username="carl")
    world.restore()
    assert User.objects.get(username="carl").pk == anna.pk
    returned = User.objects.get(username__startswith="carl-deleted-")
    assert not returned.is_active


def test_schedules_go_on_from_now(world: World, filled: Any) -> None:
    Schedule.objects.update(last_slot="2020-01-01T00:00:00Z")
    Schedule.objects.create(
        name="of the copy",
        source="postgres",
        format="custom",
        cron="0 3 * * *",
        last_slot="2020-01-01T00:00:00Z",
    )
    copy = taking.take(taking.Options())
    world.copies = {"custom": str(copy.pk)}
    before = timezone.now()
    world.restore()
    slots = list(Schedule.objects.values_list("last_slot", flat=True))
    assert slots
    assert all(slot is not None and slot >= before for slot in slots)


def test_what_was_erased_since_the_copy_stays_erased_and_what_was_deleted_returns(world: World) -> None:
    first, second, third = Agent.objects.order_by("name")
    erasures.order(world.backups, "agent", {"id": str(first.pk)})
    erasures.order(world.backups, "metadata", {"metadata": {"person": "p2"}})
    Agent.objects.filter(pk__in=[first.pk, second.pk]).delete()

    journal = world.restore()

    assert set(Agent.objects.values_list("pk", flat=True)) == {second.pk, third.pk}
    assert not Memory.objects.filter(metadata__person="p2").exists()
    assert Memory.objects.count() == 2 * 4
    assert Document.objects.count() == 2
    assert "Erased an agent with its memories: 1 row." in journal.step("migrate").sentence


@pytest.fixture
def service(world: World) -> Iterator[str]:
    """A role of another program in this cluster; gone with whatever it was granted in this world."""
    role = f"service_{world.live}"
    name = sql.Identifier(role)
    with superuser() as above:
        above.execute(sql.SQL("CREATE ROLE {}").format(name))
    try:
        yield role
    finally:
        connections["default"].close()
        for one in world.databases():  # live of before has the grants, too
            with superuser() as above:
                above.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(one)))
                above.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(sql.Identifier(one)))
            with superuser(one) as above:
                above.execute(sql.SQL("REASSIGN OWNED BY {} TO arc").format(name))
                above.execute(sql.SQL("DROP OWNED BY {}").format(name))
        with superuser() as above:
            above.execute(sql.SQL("DROP ROLE {}").format(name))


def asked(database: str, query: str, **values: str) -> Any:
    with superuser(database) as above:
        return above.execute(query, values).fetchone()


RIGHTS = """
    SELECT has_table_privilege(%(r)s, 'agents.agents', 'SELECT'),
           has_column_privilege(%(r)s, 'agents.agents', 'name', 'INSERT'),
           has_table_privilege(%(r)s, 'agents.agents', 'DELETE'),
           has_schema_privilege(%(r)s, 'agents', 'USAGE'),
           has_function_privilege(%(r)s, 'events.ensure_partitions(int)', 'EXECUTE'),
           has_function_privilege('public', 'events.ensure_partitions(int)', 'EXECUTE'),
           has_database_privilege(%(r)s, current_database(), 'CREATE'),
           has_database_privilege('public', current_database(), 'CONNECT')
"""
OF_DATABASE = """
    SELECT datconnlimit, shobj_description(oid, 'pg_database'), current_setting('search_path'),
           current_setting('work_mem')
    FROM pg_database WHERE datname = current_database()
"""


def test_rights_settings_limit_and_comment_of_live_go_along_and_back(world: World, service: str) -> None:
    who, live = sql.Identifier(service), sql.Identifier(world.live)
    with superuser(world.live) as above:
        for words in (
            "GRANT SELECT ON agents.agents TO {role}",
            "GRANT INSERT (name, type) ON agents.agents TO {role}",
            "GRANT USAGE ON SCHEMA agents TO {role}",
            "REVOKE EXECUTE ON FUNCTION events.ensure_partitions(int) FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION events.ensure_partitions(int) TO {role}",
            "REVOKE CONNECT ON DATABASE {live} FROM PUBLIC",
            "GRANT CREATE ON DATABASE {live} TO {role}",
            "ALTER DEFAULT PRIVILEGES FOR ROLE arc IN SCHEMA agents GRANT SELECT ON TABLES TO {role}",
            "ALTER DEFAULT PRIVILEGES FOR ROLE arc REVOKE EXECUTE ON ROUTINES FROM PUBLIC",
            'ALTER DATABASE {live} SET search_path TO agents, "$user", public',
            "ALTER DATABASE {live} SET work_mem TO '9MB'",
            "ALTER ROLE arc IN DATABASE {live} SET lock_timeout TO '7s'",
            "ALTER DATABASE {live} CONNECTION LIMIT 41",
            "COMMENT ON DATABASE {live} IS 'it''s live'",
        ):
            above.execute(sql.SQL(words).format(role=who, live=live))

    journal = world.restore()

    assert journal.facts["by_hand"] == []
    assert asked(world.live, RIGHTS, r=service) == (True, True, False, True, True, False, True, False)
    of_live = (41, "it's live", 'agents, "$user", public', "9MB")
    assert asked(world.live, OF_DATABASE) == of_live
    with connections["default"].cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("7s",)
        cursor.execute("CREATE TABLE agents.later ()")
        cursor.execute("CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    later = "SELECT has_table_privilege(%(r)s, 'agents.later', 'SELECT'), "
    later += "has_function_privilege('public', 'later()', 'EXECUTE')"
    assert asked(world.live, later, r=service) == (True, False)

    with superuser(world.live) as above:
        above.execute(sql.SQL("REVOKE SELECT ON agents.agents FROM {}").format(who))
        above.execute(sql.SQL("ALTER DATABASE {} RESET work_mem").format(live))
        above.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 40").format(live))
    world.undo(journal)
    assert asked(world.live, RIGHTS, r=service) == (False, True, False, True, True, False, True, False)
    assert asked(world.live, OF_DATABASE)[0] == 40
    assert asked(world.live, OF_DATABASE)[3] != "9MB", "what was taken away since stays away"


OURS = """
    SELECT has_table_privilege('arc', 'agents.documents', 'SELECT'),
           has_column_privilege('arc', 'agents.documents', 'name', 'UPDATE'),
           has_table_privilege('arc', 'agents.documents', 'DELETE'),
           has_table_privilege('arc', 'accounts_loginthrottle', 'SELECT'),
           has_sequence_privilege('arc', 'accounts_loginthrottle_id_seq', 'USAGE')
"""


def test_what_the_role_may_not_carry_over_is_said_before_with_its_statement(
    world: World, service: str
) -> None:
    who, live = sql.Identifier(service), sql.Identifier(world.live)
    with superuser(world.live) as above:
        for words in (
            "ALTER ROLE {role} IN DATABASE {live} SET search_path TO agents, public",
            "ALTER ROLE {role} IN DATABASE {live} SET app.key TO 'a secret'",
            "ALTER DATABASE {live} SET log_min_duration_statement TO '5s'",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO arc",
            "ALTER TABLE agents.documents OWNER TO {role}",
            "GRANT SELECT, UPDATE (name) ON agents.documents TO arc",
            "ALTER TABLE accounts_loginthrottle OWNER TO {role}",
            "GRANT SELECT ON accounts_loginthrottle TO arc",
            "GRANT SELECT, USAGE ON SEQUENCE accounts_loginthrottle_id_seq TO arc",
        ):
            above.execute(sql.SQL(words).format(role=who, live=live))

    journal = world.prepare()

    said = {one["statement"] for one in journal.facts["by_hand"]}
    assert said == {
        f"""ALTER ROLE "{service}" IN DATABASE "{world.live}" SET "search_path" TO 'agents', 'public';""",
        f"""ALTER ROLE "{service}" IN DATABASE "{world.live}" SET "app"."key" TO '…';""",
        f"""ALTER DATABASE "{world.live}" SET "log_min_duration_statement" TO '5s';""",
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{service}" GRANT SELECT ON TABLES TO "arc";',
        f'ALTER TABLE agents.documents OWNER TO "{service}";',
        'GRANT SELECT ON TABLE agents.documents TO "arc";',
        'GRANT UPDATE ("name") ON TABLE agents.documents TO "arc";',
        f'ALTER TABLE public.accounts_loginthrottle OWNER TO "{service}";',
        'GRANT SELECT ON TABLE public.accounts_loginthrottle TO "arc";',
        'GRANT SELECT ON SEQUENCE public.accounts_loginthrottle_id_seq TO "arc";',
        'GRANT USAGE ON SEQUENCE public.accounts_loginthrottle_id_seq TO "arc";',
    }
    assert "11 rights and settings of live must be carried over by hand" in journal.step("differ").sentence
    assert "a secret" not in (world.backups / "journal" / f"{journal.id}.json").read_text()
    asked_for = "SELECT count(*) FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase "
    asked_for += "WHERE d.datname = %(name)s"
    assert asked(world.live, asked_for, name=journal.new) == (0,), "the look left nothing behind"

    # By hand they do what they say.
    asking.confirmed(journal, world.live, WHO)
    doing.finish(journal)
    assert "To be run by hand by a superuser" in journal.step("carry").sentence
    with superuser(world.live) as above:
        for one in journal.facts["by_hand"]:
            above.execute(one["statement"])
    path = """
        SELECT 'search_path=agents, public' = ANY (setconfig) FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON d.oid = s.setdatabase JOIN pg_roles AS r ON r.oid = s.setrole
        WHERE (d.datname, r.rolname) = (%(name)s, %(r)s)
    """
    assert asked(world.live, path, name=world.live, r=service) == (True,)
    # Documents are the service's now, as they were, and this role may what it might.
    assert asked(world.live, "SELECT tableowner FROM pg_tables WHERE tablename = 'documents'") == (service,)
    assert asked(world.live, OURS) == (True, True, False, True, True)


def test_of_a_live_that_cannot_be_entered_what_the_cluster_knows_goes_along(
    world: World, service: str
) -> None:
    live = sql.Identifier(world.live)
    with superuser(world.live) as above:
        above.execute(sql.SQL("GRANT SELECT ON agents.agents TO {}").format(sql.Identifier(service)))
        above.execute(sql.SQL("ALTER DATABASE {} SET log_temp_files TO '1MB'").format(live))
        above.execute(sql.SQL("ALTER DATABASE {} SET work_mem TO '9MB'").format(live))
        above.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(live))
        above.execute(sql.SQL("COMMENT ON DATABASE {} IS 'ours'").format(live))
    source = of_backup(world.backup())
    journal = asking.restore(source, WHO)
    doing.prepare(journal, source, live_is_broken=True)
    asking.confirmed(journal, world.live, WHO)
    doing.finish(journal, live_is_broken=True)
    found = "SELECT current_setting('work_mem'), shobj_description(oid, 'pg_database'), "
    found += "has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = %(name)s"
    assert asked(world.live, found, name=world.live) == ("9MB", "ours", False)
    left = f"""ALTER DATABASE "{world.live}" SET "log_temp_files" TO '1MB';"""
    assert [one["statement"] for one in journal.facts["by_hand"]] == [left]
    assert left in journal.step("carry").sentence

    # The rights of before are none that the restored one, which knew nothing of them, takes away.
    undo = world.undo(journal)
    assert asked(world.live, RIGHTS, r=service)[0]
    assert "may not" not in undo.step("carry").sentence


def test_an_undo_leaves_alone_what_the_restore_could_not_give_and_nobody_gave_by_hand(
    world: World, service: str
) -> None:
    who, live = sql.Identifier(service), sql.Identifier(world.live)
    with superuser(world.live) as above:
        for words in (
            "ALTER TABLE agents.documents OWNER TO {role}",
            "GRANT SELECT ON agents.documents TO arc",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO arc",
            "ALTER ROLE {role} IN DATABASE {live} SET app.key TO 'a secret'",
            "ALTER DATABASE {live} SET log_min_duration_statement TO '5s'",
            "ALTER DATABASE {live} SET log_temp_files TO '1MB'",
        ):
            above.execute(sql.SQL(words).format(role=who, live=live))
    journal = world.restore()
    assert len(journal.facts["by_hand"]) == 6
    with superuser() as above:  # one of them is given, and another value
        above.execute(sql.SQL("ALTER DATABASE {} SET log_temp_files TO '2MB'").format(live))

    undo = world.undo(journal)

    assert undo.step("carry").sentence.split("may not: ")[1].split("; ") == [
        f"""ALTER DATABASE "{world.live}" SET "log_temp_files" TO '2MB';"""
    ]
    assert asked(world.live, "SELECT tableowner FROM pg_tables WHERE tablename = 'documents'") == (service,)
    of_before = "SELECT current_setting('log_min_duration_statement')"
    assert asked(world.live, of_before) == ("5s",)


def test_a_secret_among_the_settings_is_in_no_log_of_the_server(
    world: World, service: str, settings: Any
) -> None:
    log = settings.ARC_LAYOUT.log_dir / "postgres.log"
    begun = log.stat().st_size
    given = f"app_{world.live}.key"
    with superuser() as above:
        # What this role may set goes along; the other is refused, and the server logs the statement.
        for words in (
            "ALTER DATABASE {live} SET {given} TO 'a secret that goes along'",
            "GRANT SET ON PARAMETER {given} TO arc",
            "ALTER DATABASE {live} SET app.password TO 'a secret that is refused'",
            "ALTER ROLE {role} IN DATABASE {live} SET app.password TO 'a secret of the service'",
        ):
            above.execute(
                sql.SQL(words).format(
                    live=sql.Identifier(world.live),
                    given=sql.Identifier(*given.split(".")),
                    role=sql.Identifier(service),
                )
            )
    try:
        journal = world.restore()
    finally:
        with superuser() as above:
            name = sql.Identifier(*given.split("."))
            above.execute(sql.SQL("REVOKE SET ON PARAMETER {} FROM arc").format(name))
    assert [one["statement"] for one in journal.facts["by_hand"]] == [
        f"""ALTER DATABASE "{world.live}" SET "app"."password" TO '…';""",
        f"""ALTER ROLE "{service}" IN DATABASE "{world.live}" SET "app"."password" TO '…';""",
    ]
    assert "for a day" in journal.facts["by_hand"][0]["what"]
    assert asked(world.live, f"SELECT current_setting('{given}')") == ("a secret that goes along",)

    def logged() -> str:
        return log.read_bytes()[begun:].decode(errors="replace")

    until(lambda: f'ALTER DATABASE "{journal.new}" SET "app"."password"' in logged(), what="its log")
    assert "a secret" not in logged()


def test_a_setting_that_postgresql_writes_in_another_way_is_carried_over(world: World) -> None:
    with superuser() as above:
        words = "ALTER DATABASE {} SET plpgsql.check_asserts TO 'true'"
        above.execute(sql.SQL(words).format(sql.Identifier(world.live)))
    journal = world.prepare()
    with databases.connected(world.live) as live, databases.connected(journal.new) as new:
        new.execute("DO 'BEGIN END'")  # loads what owns the setting, so that PostgreSQL knows its type
        assert by_hand(live, new, trusted=True) == []


def test_a_revoked_right_on_a_column_does_not_come_back_and_what_is_newer_keeps_its_rights(
    world: World, service: str
) -> None:
    who = sql.Identifier(service)
    with superuser(world.live) as above:
        above.execute(sql.SQL("GRANT UPDATE (name) ON agents.agents TO {}").format(who))
        above.execute("CREATE SEQUENCE agents.numbers")
        above.execute("ALTER SEQUENCE agents.numbers OWNER TO arc")
    # SQL text has the rights in it.
    world.copies = {"plain": str(taking.take(taking.Options(format="plain")).pk)}
    with superuser(world.live) as above:
        for words in (
            "REVOKE UPDATE (name) ON agents.agents FROM {role}",
            "ALTER SEQUENCE agents.numbers OWNER TO {role}",
            "GRANT SELECT ON agents.numbers TO arc",
            "ALTER TABLE agents.agents ADD COLUMN newer int",
            "GRANT UPDATE (newer) ON agents.agents TO {role}",
            "CREATE SCHEMA newer AUTHORIZATION arc",
            "ALTER DEFAULT PRIVILEGES FOR ROLE arc IN SCHEMA newer GRANT SELECT ON TABLES TO {role}",
        ):
            above.execute(sql.SQL(words).format(role=who))
    may = "SELECT has_column_privilege(%(r)s, 'agents.agents', %(c)s, 'UPDATE')"

    journal = world.restore("plain")
    assert asked(world.live, may, r=service, c="name") == (False,)
    assert [one["statement"] for one in journal.facts["by_hand"]] == [
        f'ALTER SEQUENCE agents.numbers OWNER TO "{service}";',
        'GRANT SELECT ON SEQUENCE agents.numbers TO "arc";',
    ]

    world.undo(journal)
    assert asked(world.live, may, r=service, c="newer") == (True,)
    assert asked(world.live, "SELECT count(*) FROM pg_default_acl WHERE defaclnamespace <> 0") == (1,)
