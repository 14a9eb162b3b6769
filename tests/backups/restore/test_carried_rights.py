"""Rights, owners and settings of live, which stand in no dump, after a copy took its place."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from psycopg import sql

from arcweb.backups import taking
from arcweb.backups.restore import asking, databases, doing
from arcweb.backups.restore.carry import by_hand
from arcweb.backups.restore.source import of_backup
from tests.backups.restore.conftest import WHO, World, superuser
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


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


def run_above(world: World, service: str, *statements: str) -> None:
    """As a superuser in live; {role} is the service's, {live} the database."""
    names = {"role": sql.Identifier(service), "live": sql.Identifier(world.live)}
    with superuser(world.live) as above:
        for words in statements:
            above.execute(sql.SQL(words).format(**names))


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
    run_above(
        world,
        service,
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
    )

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

    run_above(
        world,
        service,
        "REVOKE SELECT ON agents.agents FROM {role}",
        "GRANT USAGE ON SCHEMA agents TO {role} WITH GRANT OPTION",
        "ALTER DATABASE {live} RESET work_mem",
        "ALTER DATABASE {live} CONNECTION LIMIT 40",
    )
    world.undo(journal)
    assert asked(world.live, RIGHTS, r=service) == (False, True, False, True, True, False, True, False)
    passed_on = "SELECT has_schema_privilege(%(r)s, 'agents', 'USAGE WITH GRANT OPTION')"
    assert asked(world.live, passed_on, r=service) == (True,)
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
    run_above(
        world,
        service,
        "ALTER ROLE {role} IN DATABASE {live} SET search_path TO agents, public",
        "ALTER ROLE {role} IN DATABASE {live} SET app.key TO 'a secret'",
        "ALTER DATABASE {live} SET log_min_duration_statement TO '5s'",
        "ALTER DATABASE {live} SET work_mem TO '9MB'",  # this it may
        "ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO arc",
        "ALTER TABLE agents.documents OWNER TO {role}",
        "GRANT SELECT, UPDATE (name) ON agents.documents TO arc",
        "ALTER TABLE accounts_loginthrottle OWNER TO {role}",
        "GRANT SELECT ON accounts_loginthrottle TO arc",
        "GRANT SELECT, USAGE ON SEQUENCE accounts_loginthrottle_id_seq TO arc",
    )

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
    run_above(
        world,
        service,
        "GRANT SELECT ON agents.agents TO {role}",
        "ALTER DATABASE {live} SET log_temp_files TO '1MB'",
        "ALTER DATABASE {live} SET work_mem TO '9MB'",
        "REVOKE CONNECT ON DATABASE {live} FROM PUBLIC",
        "COMMENT ON DATABASE {live} IS 'ours'",
    )
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
    run_above(
        world,
        service,
        "ALTER TABLE agents.documents OWNER TO {role}",
        "GRANT SELECT ON agents.documents TO arc",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO arc",
        "ALTER ROLE {role} IN DATABASE {live} SET app.key TO 'a secret'",
        "ALTER DATABASE {live} SET log_min_duration_statement TO '5s'",
        "ALTER DATABASE {live} SET log_temp_files TO '1MB'",
    )
    journal = world.restore()
    assert len(journal.facts["by_hand"]) == 6
    # One of them is given, and another value; and more than a restore names in its sentence.
    given = {
        "commit_delay": "1",
        "deadlock_timeout": "2s",
        "log_min_duration_sample": "5s",
        "log_statement_sample_rate": "0.5",
        "log_temp_files": "2MB",
        "log_transaction_sample_rate": "0",
    }
    run_above(
        world,
        service,
        "GRANT INSERT ON agents.documents TO {role}",  # who owns the one of before, and needs it not
        *(f"ALTER DATABASE {{live}} SET {name} TO '{value}'" for name, value in given.items()),
    )

    undo = world.undo(journal)

    assert undo.step("carry").sentence.split("may not: ")[1] == " ".join(
        f"""ALTER DATABASE "{world.live}" SET "{name}" TO '{value}';""" for name, value in given.items()
    )
    assert asked(world.live, "SELECT tableowner FROM pg_tables WHERE tablename = 'documents'") == (service,)
    of_before = "SELECT current_setting('log_min_duration_statement')"
    assert asked(world.live, of_before) == ("5s",)


def test_a_secret_among_the_settings_is_in_no_log_of_the_server(
    world: World, service: str, settings: Any
) -> None:
    log = settings.ARC_LAYOUT.log_dir / "postgres.log"
    begun = log.stat().st_size
    given = f"app_{world.live}.key"
    secret = f"a secret of {uuid.uuid4().hex}"  # tests beside this one log, too
    with superuser() as above:
        # What the test itself says is no fault of the product, however slow it is.
        above.execute("SET log_min_duration_statement = -1; SET log_lock_waits = off")
        # What this role may set goes along; the other is refused, and the server logs the statement.
        for words in (
            "ALTER DATABASE {live} SET {given} TO {secret}",
            "GRANT SET ON PARAMETER {given} TO arc",
            "ALTER DATABASE {live} SET app.password TO {secret}",
            "ALTER ROLE {role} IN DATABASE {live} SET app.password TO {secret}",
        ):
            above.execute(
                sql.SQL(words).format(
                    live=sql.Identifier(world.live),
                    given=sql.Identifier(*given.split(".")),
                    role=sql.Identifier(service),
                    secret=sql.Literal(secret),
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
    assert asked(world.live, f"SELECT current_setting('{given}')") == (secret,)

    def logged() -> str:
        return log.read_bytes()[begun:].decode(errors="replace")

    until(lambda: f'ALTER DATABASE "{journal.new}" SET "app"."password"' in logged(), 60, "its log")
    assert secret not in logged()


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
        above.execute(sql.SQL("GRANT DELETE ON agents.agents TO {} WITH GRANT OPTION").format(who))
        above.execute("CREATE SEQUENCE agents.numbers")
        above.execute("ALTER SEQUENCE agents.numbers OWNER TO arc")
        above.execute(sql.SQL("GRANT SELECT ON agents.numbers TO {}").format(who))
    # SQL text has the rights in it.
    world.copies = {"plain": str(taking.take(taking.Options(format="plain")).pk)}
    with superuser(world.live) as above:
        for words in (
            "REVOKE UPDATE (name) ON agents.agents FROM {role}",
            "REVOKE GRANT OPTION FOR DELETE ON agents.agents FROM {role}",
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
    passes = "SELECT has_table_privilege(%(r)s, 'agents.agents', 'DELETE'), "
    passes += "has_table_privilege(%(r)s, 'agents.agents', 'DELETE WITH GRANT OPTION')"
    assert asked(world.live, passes, r=service) == (True, False)
    still = "SELECT has_sequence_privilege(%(r)s, 'agents.numbers', 'SELECT')"
    assert asked(world.live, still, r=service) == (True,), "who owns it in live keeps what the copy gives"
    assert [one["statement"] for one in journal.facts["by_hand"]] == [
        f'ALTER SEQUENCE agents.numbers OWNER TO "{service}";',
        'GRANT SELECT ON SEQUENCE agents.numbers TO "arc";',
    ]

    world.undo(journal)
    assert asked(world.live, may, r=service, c="newer") == (True,)
    assert asked(world.live, "SELECT count(*) FROM pg_default_acl WHERE defaclnamespace <> 0") == (1,)


def test_a_live_of_another_descent_takes_back_no_right_that_a_copy_of_ours_gives(
    world: World, service: str
) -> None:
    run_above(world, service, "GRANT SELECT ON agents.agents TO {role}")
    world.copies = {"plain": str(taking.take(taking.Options(format="plain")).pk)}
    run_above(
        world,
        service,
        "REVOKE SELECT ON agents.agents FROM {role}",
        "UPDATE django_migrations SET applied = applied - interval '1 s'",
    )
    world.restore("plain")
    assert asked(world.live, RIGHTS, r=service)[0], "it never knew this service"
