"""What is unsafe is provoked, seen with its statement, and gone after that was typed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.database import standing
from arcweb.database.safety import encryption, looks, switches, views
from arcweb.database.safety.encryption import Group, Offered, judge
from arcweb.database.safety.switches import Setting
from arcweb.database.safety.versions import ENDS, Extension, judge_server
from arcweb.database.safety.versions import judge as judge_extensions
from tests.database.safety.conftest import URL, Shown, Superuser
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db


def test_it_needs_its_permission(client: Client) -> None:
    assert client_of("viewer").get(URL).status_code == 403
    user = User.objects.create_user("auditor")
    user.user_permissions.add(Permission.objects.get(codename="view_safety"))
    client.force_login(user)
    assert client.get(URL).status_code == 200
    assert client.post(URL).status_code == 405


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("LOGIN SUPERUSER", "is a superuser and may log in"),
        ("LOGIN CREATEROLE", "may create roles"),
        ("LOGIN BYPASSRLS", "Row security does not hold for the role"),
        ("LOGIN REPLICATION", "may copy the whole cluster"),
        ("LOGIN IN ROLE pg_write_server_files", "is a member of pg_write_server_files"),
    ],
)
def test_a_role_that_may_too_much(superuser: Superuser, page: Shown, attributes: str, told: str) -> None:
    name = superuser.role(attributes)
    sentence = (
        f"Row security does not hold for the role {name}" if "BYPASS" in attributes else f"The role {name} "
    )
    shown = page()
    assert sentence in shown
    assert told in shown
    superuser(page.statement(sentence))
    assert sentence not in page()


def test_roles_that_cannot_log_in_or_are_well_are_no_finding(superuser: Superuser, page: Shown) -> None:
    name = superuser.role("NOLOGIN SUPERUSER")
    plain = superuser.role("LOGIN PASSWORD 'a long enough password' VALID UNTIL '2001-01-01'")
    shown = page()
    assert f"The role {name} " not in shown
    assert f"The role {plain} " not in shown
    assert "expired 2001-01-01" in shown


def test_a_password_that_is_kept_as_md5(superuser: Superuser, page: Shown) -> None:
    superuser("SET password_encryption = 'md5'")
    name = superuser.role("LOGIN PASSWORD 'a long enough password'")
    shown = page()
    assert "Which passwords are not kept as scram-sha-256 is not known: arc may not read pg_authid" in shown
    assert "SELECT rolname FROM pg_authid WHERE rolcanlogin" in shown
    told = superuser.line.execute(page.statement("Which passwords are not kept")).fetchall()
    assert (name,) in told, "the statement that a superuser is told to type"
    columns = "SELECT (rolname, rolpassword, rolcanlogin) ON pg_authid"
    superuser(f"GRANT {columns} TO arc", undo=f"REVOKE {columns} FROM arc")
    sentence = f"The password of the role {name} is kept as md5"
    shown = page()
    assert sentence in shown
    assert "may not read pg_authid" not in shown
    assert (
        superuser.line.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name]).fetchone()[0]
        not in shown
    ), "no hash on a page"
    superuser(
        "SET password_encryption = 'scram-sha-256'", f"ALTER ROLE {name} PASSWORD 'a long enough password'"
    )
    assert sentence not in page()


def test_lines_of_pg_hba_conf(superuser: Superuser, page: Shown) -> None:
    shown = page()
    assert "Whether pg_hba.conf lets anybody in without a password is not known" in shown
    superuser.line.execute(page.statement("Whether pg_hba.conf lets anybody in"))
    superuser("GRANT SELECT ON pg_hba_file_rules TO arc", undo="REVOKE SELECT ON pg_hba_file_rules FROM arc")
    superuser(
        "GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO arc",
        undo="REVOKE EXECUTE ON FUNCTION pg_hba_file_rules() FROM arc",
    )
    assert "lets anybody in without a password is not known" not in page()


def test_what_this_role_cannot_know_is_named_with_its_grant(
    superuser: Superuser, page: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What this server has of its own is another test's.
    monkeypatch.setitem(views.PARTS, "switches", (list, "The settings"))
    monkeypatch.setitem(views.PARTS, "grants", (list, "The grants of this database"))
    # Roles are the server's: those of other tests are unsafe, too, for as long as they last.
    until(lambda: "Not all is known" in page())
    shown = page()
    assert "Not known to it: how passwords are kept, the lines of pg_hba.conf;" in shown
    assert "2 unknown" in shown
    newest = "Whether 18"
    assert newest in shown, "told, and no lack of this role"
    grants = {
        "the lines of pg_hba.conf": (
            'GRANT SELECT ON pg_hba_file_rules TO "arc";',
            'GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO "arc";',
        ),
        "how passwords are kept": ('GRANT SELECT (rolname, rolpassword) ON pg_authid TO "arc";',),
    }
    for thing, typed in grants.items():
        assert thing in shown
        for grant in typed:
            assert grant in shown
            superuser(grant, undo=grant.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM "))
        assert thing not in page().partition("Findings")[0]
    until(lambda: "Nothing unsafe was found." in page())
    shown = page()
    assert "Not all is known" not in shown
    assert newest in shown


def test_everybody_may_create(superuser: Superuser, page: Shown) -> None:
    superuser("CREATE SCHEMA open_house", undo="DROP SCHEMA open_house CASCADE")
    sentence = "may create objects in the schema open_house"
    assert sentence not in page()
    superuser("GRANT CREATE ON SCHEMA open_house TO PUBLIC")
    assert sentence in page()
    superuser(page.statement(sentence))
    assert sentence not in page()


def test_everybody_has_a_table_or_a_sequence(superuser: Superuser, page: Shown) -> None:
    superuser(
        'CREATE SCHEMA open_house; CREATE TABLE open_house."Odd ""name" (id serial)',
        undo="DROP SCHEMA open_house CASCADE",
    )
    superuser('GRANT INSERT, SELECT ON open_house."Odd ""name" TO PUBLIC')
    sentence = 'Everybody who may connect has INSERT, SELECT on open_house.Odd "name'
    assert sentence in page()
    superuser(page.statement(sentence))
    assert sentence not in page()
    superuser('GRANT USAGE ON SEQUENCE open_house."Odd ""name_id_seq" TO PUBLIC')
    sentence = 'Everybody who may connect has USAGE on open_house.Odd "name_id_seq'
    assert sentence in page()
    superuser(page.statement(sentence))
    assert sentence not in page()
    assert "pg_stat_statements." not in page(), "what an extension grants is its own affair"


def test_a_security_definer_without_a_search_path(superuser: Superuser, page: Shown) -> None:
    superuser(
        "CREATE SCHEMA lent; CREATE FUNCTION lent.hand(text, integer) RETURNS int LANGUAGE sql "
        "SECURITY DEFINER AS 'SELECT 1'",
        undo="DROP SCHEMA lent CASCADE",
    )
    sentence = "lent.hand(text, integer) runs as postgres (SECURITY DEFINER)"
    assert "by the search_path of everybody" in page()
    superuser("REVOKE EXECUTE ON FUNCTION lent.hand(text, integer) FROM PUBLIC")
    assert sentence in page()
    assert "by the search_path of whoever may call it" in page()
    superuser(page.statement(sentence))
    assert sentence not in page()


def test_default_privileges_for_everybody(superuser: Superuser, page: Shown) -> None:
    superuser(
        "CREATE SCHEMA later; ALTER DEFAULT PRIVILEGES IN SCHEMA later GRANT SELECT ON TABLES TO PUBLIC",
        undo="DROP SCHEMA later CASCADE",
    )
    sentence = "What postgres creates in the schema later from now on gives everybody SELECT (tables)"
    assert sentence in page()
    superuser(page.statement(sentence))
    assert sentence not in page()


def test_an_extension_behind_its_files(superuser: Superuser, page: Shown) -> None:
    superuser("CREATE EXTENSION pageinspect VERSION '1.5'", undo="DROP EXTENSION IF EXISTS pageinspect")
    sentence = "The extension pageinspect is of version 1.5"
    assert sentence in page()
    superuser(page.statement(sentence))
    assert sentence not in page()


@pytest.mark.django_db(transaction=True)
def test_unsafe_settings(superuser: Superuser, page: Shown) -> None:
    """Of this role alone: the server is shared."""
    sentence = "synchronous_commit is off"
    assert sentence not in page()
    name = connection.settings_dict["NAME"]
    reset = f'ALTER ROLE arc IN DATABASE "{name}" RESET ALL'
    superuser(f'ALTER ROLE arc IN DATABASE "{name}" SET synchronous_commit = off', undo=reset)
    superuser(f"ALTER ROLE arc IN DATABASE \"{name}\" SET password_encryption = 'md5'")
    connection.close()
    shown = page()
    assert sentence in shown
    assert "New passwords are kept as md5" in shown
    superuser(reset)
    connection.close()
    assert sentence not in page()


def test_every_switch_that_is_off_is_told() -> None:
    bad = {"fsync": "off", "full_page_writes": "off", "log_statement": "all", "data_checksums": "off"}
    settings = [Setting(name, value, "file", "sighup") for name, value in bad.items()]
    assert len(switches.judge(settings)) == 4
    found = switches.judge([Setting("fsync", "off", "file", "sighup")])[0]
    assert found.state == "bad"
    assert found.statement == "ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();"
    assert switches.judge([Setting("log_connections", "receipt,authentication", "file", "sighup")]) == []
    assert switches.judge([Setting("log_connections", "", "default", "sighup")])[0].state == "idle"


def test_this_connection_by_the_socket_is_well(page: Shown) -> None:
    shown = page()
    assert "this page this machine Socket" in shown
    assert "in clear" not in shown


def test_connections_in_clear_are_told() -> None:
    offered = Offered(ssl=False, listens="*", oldest="TLSv1.2")
    groups = [
        Group("arc", "10.0.0.8", False, "", 1, True),
        Group("app", "10.0.0.9", False, "", 3, False),
        Group("app", "10.0.0.9", True, "TLSv1.3", 3, False),
        Group("app", "127.0.0.1", False, "", 3, False),
        Group("app", None, False, "", 3, False),
    ]
    found = [(one.state, one.sentence) for one in judge(groups, offered)]
    assert [state for state, _ in found] == ["bad", "warn", "warn"]
    assert found[1][1].startswith("3 connections of the role app from 10.0.0.9 cross the network in clear")
    assert "offers no SSL" in found[2][1]
    assert judge(groups[2:], Offered(ssl=False, listens="localhost", oldest="TLSv1.2")) == []
    assert "TLSv1.1 is accepted" in judge([], Offered(ssl=True, listens="*", oldest="TLSv1.1"))[0].sentence


def test_versions_by_their_end() -> None:
    assert judge_server(18, "18.4", date(2026, 11, 23)) == []
    assert judge_server(14, "14.20", date(2026, 11, 23))[0].state == "bad"
    assert judge_server(15, "15.18", date(2027, 8, 1))[0].state == "warn"
    assert judge_server(12, "12.1", date(2026, 11, 23))[0].state == "bad"
    assert judge_server(99, "99.1", date(2026, 11, 23))[0].state == "unknown"
    assert sorted(ENDS) == list(range(min(ENDS), max(ENDS) + 1))
    assert judge_extensions([Extension("vector", "0.8.0", "0.8.0")]) == []


def test_without_pg_monitor_others_are_unknown(page: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its standing only: other tests need the grant of the shared server."""
    blind = replace(standing.standing(), sees_all=False)
    monkeypatch.setattr(encryption, "standing", lambda: blind)
    shown = page()
    assert "Whether others connect without SSL is not known." in shown
    assert 'GRANT pg_monitor TO "arc";' in shown


def test_the_overview_hears_the_worst(superuser: Superuser) -> None:
    superuser("CREATE SCHEMA open_house", undo="DROP SCHEMA open_house CASCADE")
    superuser("CREATE TABLE open_house.t (id int); GRANT DELETE ON open_house.t TO PUBLIC")
    found = looks.find()
    assert len(found) == 1
    assert found[0].state == "bad"
    assert found[0].url == URL


def test_the_page_costs_the_same_with_many_roles(superuser: Superuser, page: Shown) -> None:
    page()

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            page()
        return len(asked)

    before = queries()
    for _ in range(30):
        superuser.role("LOGIN CREATEROLE")
    assert queries() == before


def test_names_are_text(superuser: Superuser, page: Shown) -> None:
    superuser('CREATE ROLE "<b>safe</b>" LOGIN CREATEROLE', undo='DROP ROLE "<b>safe</b>"')
    body: Any = page.client.get(URL).content.decode()
    assert "<b>safe" not in body
    assert "&lt;b&gt;safe" in body
