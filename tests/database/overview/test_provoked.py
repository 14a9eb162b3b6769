"""What a shared server cannot be made to have: transactions never frozen, a lost slot, open doors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client

from arcweb.database.replication import looks, standbys
from arcweb.database.storage import maintenance, tables
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from tests.database.overview.conftest import Own
from tests.waiting import until

#: Each of them takes a transaction's number.
EAT = """
    DO $$
    BEGIN
        FOR i IN 1..155000 LOOP
            BEGIN
                INSERT INTO eaten VALUES (i);
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
        END LOOP;
    END
    $$
"""
OPEN_DOORS = """
host all all 127.0.0.1/0 trust
host all all ::1/128 trust
host all all 10.8.0.0/16 trust
host all app 10.9.0.0/16 password
host all old 10.10.0.0/16 md5
host all all nowhere/99 scram-sha-256
"""


@pytest.fixture
def root(own: Own) -> Client:
    user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_active=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


def text(client: Client, path: str) -> str:
    answer = client.get(path, follow=True)
    assert answer.status_code == 200
    body = answer.content.decode()
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body[body.index('id="main"') :])))


def test_transactions_that_vacuum_cannot_freeze(own: Own, page: Callable[..., str]) -> None:
    told = "The oldest transaction that is not frozen in the database "
    assert told not in page("?panel=verdict")
    own.superuser("CREATE TABLE eaten (number int)")
    try:
        with own.connect() as holder:
            holder.autocommit = False
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT 1 FROM pg_class LIMIT 1")
            own.superuser(EAT)
            shown = page("?panel=verdict")
            assert told in shown
            assert "transactions old, and vacuum should have frozen it at 100,000" in shown
            assert "VACUUM (FREEZE, VERBOSE)" in shown
            holder.rollback()
        # What held it back is gone: autovacuum does the rest by itself.
        until(lambda: told not in page("?panel=verdict"), 180)
    finally:
        own.superuser("DROP TABLE eaten")


def slot() -> standbys.Slot | None:
    return next((one for one in standbys.slots() if one.name == "left_behind"), None)


def test_a_slot_that_has_lost_its_wal(own: Own, root: Client) -> None:
    own.superuser("SELECT pg_create_physical_replication_slot('left_behind', true)")
    try:
        assert looks.of_slots([slot()]) == []  # type: ignore[list-item]
        own.superuser("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")

        def lost() -> bool:
            """The checkpointer decides, once it has heard of the setting."""
            own.superuser(
                "SELECT pg_logical_emit_message(false, 'tests', 'x')", "SELECT pg_switch_wal()", "CHECKPOINT"
            )
            found = slot()
            return found is not None and found.lost

        until(lost)
        (finding,) = looks.of_slots([slot()])  # type: ignore[list-item]
        assert finding.state == "bad"
        assert finding.why.startswith("wal_status is lost")
        assert "The slot left_behind is lost: WAL that its replica needs is gone" in text(
            root, "/postgres/replication/"
        )
        own.superuser(finding.statement)
        assert slot() is None
        assert "left_behind" not in text(root, "/postgres/replication/")
    finally:
        own.superuser(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
            "ALTER SYSTEM RESET max_slot_wal_keep_size",
            "SELECT pg_reload_conf()",
        )


@pytest.fixture
def sees_doors(own: Own) -> Iterator[None]:
    with own.connect("postgres") as admin:
        admin.execute("GRANT SELECT ON pg_hba_file_rules TO arc")
        admin.execute("GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO arc")
        yield
        admin.execute("REVOKE SELECT ON pg_hba_file_rules FROM arc")
        admin.execute("REVOKE EXECUTE ON FUNCTION pg_hba_file_rules() FROM arc")


def test_doors_that_ask_for_too_little(own: Own, root: Client, sees_doors: None) -> None:
    file = own.stack.postgres.folder / "pg_hba.conf"
    before = file.read_text()
    path = "/postgres/safety/"
    sentences = (
        "lets every role in without a password (host all all 0.0.0.0/0 trust)",
        "lets every role in without a password, from this machine (host all all ::1/128 trust)",
        "lets every role in without a password (host all all 10.8.0.0/16 trust)",
        "has passwords sent in clear (host all app 10.9.0.0/16 password)",
        "still accepts MD5 (host all old 10.10.0.0/16 md5)",
        "cannot be read (",
    )
    shown = text(root, path)
    assert not [sentence for sentence in sentences if sentence in shown]
    bad = shown.count("Bad ")
    try:
        file.write_text(before.rstrip() + OPEN_DOORS)
        shown = text(root, path)
        assert not [sentence for sentence in sentences if sentence not in shown]
        assert f"Line {len(before.rstrip().splitlines()) + 1} of pg_hba.conf lets" in shown
        assert shown.count("Bad ") == bad + 4
    finally:
        file.write_text(before)
    assert not [sentence for sentence in sentences if sentence in text(root, path)]


def test_a_table_that_the_role_may_not_maintain(own: Own, root: Client) -> None:
    """Who owns the database may, so that it must be another's."""
    asked = {"action": "vacuum", "schema": "public", "name": "of_others", "back": "/postgres/tables/"}
    own.superuser("CREATE TABLE of_others AS SELECT 1 AS n", "ALTER DATABASE arc OWNER TO postgres")
    try:
        refused = unescape(root.post("/postgres/maintain/", asked, follow=True).content.decode())
        grant = 'GRANT MAINTAIN ON TABLE "public"."of_others" TO "arc";'
        assert f"Its owner postgres allows it with {grant}" in refused
        assert grant in text(root, "/postgres/tables/public/of_others/")
        assert not Job.objects.exists()
        own.superuser(grant)
        assert grant not in text(root, "/postgres/tables/public/of_others/")
        root.post("/postgres/maintain/", asked)
        job = Job.objects.get()
        ledger.run(job.pk)
        job.refresh_from_db()
        assert job.state == Job.State.SUCCEEDED, job.last_error
        vacuumed = tables.table("public", "of_others")
        assert vacuumed is not None
        assert vacuumed.last_vacuum is not None
        assert maintenance.may_not(vacuumed) == ""
    finally:
        Job.objects.all().delete()
        own.superuser("ALTER DATABASE arc OWNER TO arc", "DROP TABLE of_others")
