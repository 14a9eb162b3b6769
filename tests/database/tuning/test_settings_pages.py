"""Settings: seen with a reason, changed after a look, held in a new session, and told when they do not."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from arcweb.database import standing
from arcweb.database.tuning import changing, judged, machine, reading
from arcweb.database.tuning.reading import Parameter
from arcweb.embedded import restart
from arcweb.embedded.restart import Restarter
from arcweb.embedded.run_lock import Holder, run_lock
from arcweb.embedded.stack import Stack
from arcweb.events.models import Event
from tests.people import client_of
from tests.stack import THROWAWAY, new_layout
from tests.waiting import until

pytestmark = pytest.mark.django_db
PAGE = "/postgres/tuning/"


@pytest.fixture
def admin() -> Client:
    return client_of("administrator")


@pytest.fixture
def alone() -> Iterator[None]:
    """The server is every test process's: one changes its settings at a time, and takes them back."""
    with (Path(os.environ["ARC_DATA_DIR"]) / "settings.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = in_a_new_session("log_temp_files")
        yield
        with superuser(django_settings.ARC_LAYOUT) as server:
            server.execute("ALTER SYSTEM RESET log_temp_files")
            server.execute("ALTER SYSTEM RESET max_worker_processes")
            server.execute("SELECT pg_reload_conf()")
        until(lambda: in_a_new_session("log_temp_files") == before)


@pytest.fixture(autouse=True)
def servers_have_time(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not the point here."""
    monkeypatch.setattr(changing, "LOADED_WITHIN", 60)


def superuser(layout: Any, database: str = "") -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(layout.socket_dir),
        user="postgres",
        password=layout.read_secret("postgres-superuser-password"),
        dbname=database or connection.settings_dict["NAME"],
        autocommit=True,
    )


def of_a_new_session(statement: str, *values: str) -> str:
    parameters = connection.get_connection_params()
    keys = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{key: parameters[key] for key in keys}) as other:
        row = other.execute(statement.encode(), values).fetchone()
        assert row is not None
        return str(row[0])


def in_a_new_session(name: str) -> str:
    return of_a_new_session("SELECT current_setting(%s)", name)


def loaded_at() -> str:
    return of_a_new_session("SELECT pg_conf_load_time()")


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-3000:]
    return str(response.content.decode())


def looked(admin: Client, address: str, **asked: str) -> dict[str, str]:
    """What the form that shows the difference sends, with its hidden fields as the page has them."""
    page = body(admin.post(address, {"step": "look", **asked}))
    hidden = re.findall(r'<input type="hidden" name="(step|value|seen|written|reset)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in hidden} | {"reload": "1"}


def test_the_page_says_what_is_recommended_and_why(admin: Client) -> None:
    page = body(admin.get(f"{PAGE}?ram=16GB&cores=4"))
    assert "25 % of 16 GB of memory" in page
    assert "as stated for this look" in page
    assert "ALTER SYSTEM SET shared_buffers = &#x27;4GB&#x27;;" in page
    assert "arc.conf, line" in page
    assert "100 connections x work_mem x hash_mem_multiplier" in page
    assert "The memory is a size" in body(admin.get(f"{PAGE}?ram=lots"))
    assert "The cores are a whole number" in body(admin.get(f"{PAGE}?cores=-1"))
    measured = body(admin.get(PAGE))
    assert "measured, the server runs on this machine" in measured


def test_numbers_beyond_all_bounds_are_refused_in_words(admin: Client, alone: None) -> None:
    long = "9" * 400
    assert "The memory is a size" in body(admin.get(PAGE, {"ram": f"{long}GB"}))
    assert "The cores are a whole number" in body(admin.get(PAGE, {"cores": f"00001{'9' * 5000}"}))
    body(admin.get(PAGE, {"ram": f"{'9' * 290}GB", "cores": "10000"}))
    for name in ("max_worker_processes", "log_temp_files", "random_page_cost"):
        page = body(admin.post(f"{PAGE}{name}/", {"step": "look", "value": long}), 400)
        assert f"{name} takes a number" in page


def test_an_unknown_machine_is_unknown(admin: Client, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(machine, "is_this_machine", lambda: False)
    page = body(admin.get(PAGE))
    assert "not known: the server runs elsewhere" in page
    assert "of memory, 16 GB at most" not in page
    settings.ARC_POSTGRES_MEMORY, settings.ARC_POSTGRES_CORES = "2g", 3
    assert machine.machine().ram == 2 << 30
    assert "25 % of 2 GB of memory" in body(admin.get(PAGE))


def test_a_setting_is_changed_holds_and_is_taken_back(admin: Client, alone: None) -> None:
    address = f"{PAGE}log_temp_files/"
    before = in_a_new_session("log_temp_files")
    assert "Look at the difference" in body(admin.get(address))
    difference = body(admin.post(address, {"step": "look", "value": "33MB"}))
    assert f"<del>{before}</del>" in difference
    assert "<ins>33MB</ins>" in difference
    assert "ALTER SYSTEM SET log_temp_files = &#x27;33MB&#x27;;" in difference
    change = looked(admin, address, value="33MB")
    assert change["seen"] == before
    assert "Type log_temp_files to confirm" in body(admin.post(address, change), 400)
    assert in_a_new_session("log_temp_files") == before
    assert not Event.objects.filter(kind="postgres.configured").exists()
    done = body(admin.post(address, change | {"typed": "log_temp_files"}, follow=True))
    assert "log_temp_files is 33MB now, for every new session and statement." in done
    assert in_a_new_session("log_temp_files") == "33MB"
    event = Event.objects.get(kind="postgres.configured")
    assert event.data == {"setting": "log_temp_files", "old": before, "new": "33MB"}
    late = change | {"typed": "log_temp_files", "value": "44MB"}
    assert f"changed meanwhile, from “{before}” to “33MB”" in body(admin.post(address, late), 409)
    assert "ALTER SYSTEM RESET" in body(admin.post(address, {"step": "look", "reset": "1"}))
    reset = looked(admin, address, reset="1") | {"typed": "log_temp_files"}
    told = body(admin.post(address, reset, follow=True))
    assert f"log_temp_files is {before} again, from: arc.conf, line" in told
    assert in_a_new_session("log_temp_files") == before
    assert "has set nothing for log_temp_files" in body(
        admin.post(address, {"step": "look", "reset": "1"}), 400
    )


def test_a_change_that_is_written_and_not_loaded_is_not_overwritten_unseen(
    admin: Client, alone: None
) -> None:
    def undisturbed() -> bool:
        """Other tests have the files read again whenever they like: what is not loaded is loaded then."""
        began = loaded_at()
        try:
            _written_and_not_loaded(admin)
        except AssertionError:
            if loaded_at() == began:
                raise
            with superuser(django_settings.ARC_LAYOUT) as server:
                server.execute("ALTER SYSTEM RESET log_temp_files")
                server.execute("SELECT pg_reload_conf()")
            until(lambda: in_a_new_session("log_temp_files") == before)
            return False
        return True

    before = in_a_new_session("log_temp_files")
    until(undisturbed)
    address, typed = f"{PAGE}log_temp_files/", {"typed": "log_temp_files"}
    body(admin.post(address, looked(admin, address, value="44MB") | typed, follow=True))
    assert in_a_new_session("log_temp_files") == "44MB"


def _written_and_not_loaded(admin: Client) -> None:
    address, typed = f"{PAGE}log_temp_files/", {"typed": "log_temp_files"}
    before = in_a_new_session("log_temp_files")
    mine = looked(admin, address, value="44MB") | typed
    theirs = looked(admin, address, value="33MB") | typed
    del theirs["reload"]
    assert "it is not loaded yet" in body(admin.post(address, theirs, follow=True))
    assert in_a_new_session("log_temp_files") == before
    refused = body(admin.post(address, mine), 409)
    assert "“33MB” is written in the files and not loaded yet. Look at it again." in refused
    assert reading.written("log_temp_files") == "33MB"
    again = body(admin.post(address, {"step": "look", "value": "44MB"}))
    assert '<dt>Written, not loaded yet</dt><dd class="mono">33MB</dd>' in again


def test_of_two_changes_at_once_one_is_refused(admin: Client, alone: None) -> None:
    address, typed = f"{PAGE}log_temp_files/", {"typed": "log_temp_files"}
    mine = looked(admin, address, value="44MB") | typed
    before = in_a_new_session("log_temp_files")
    with changing._turn("log_temp_files"):
        refused = body(admin.post(address, mine), 409)
    assert "Somebody else changes log_temp_files just now." in refused
    assert in_a_new_session("log_temp_files") == before
    assert not Event.objects.filter(kind="postgres.configured").exists()
    # Both have read what it was; the other's change is loaded between that and the writing of this one.
    one = reading.parameters(["log_temp_files"])["log_temp_files"]
    values: Any = {"seen": one.words, "written": reading.written(one.name), "reload": True}
    assert changing.change(one, value="33MB", **values).state == "good"
    with pytest.raises(changing.ConflictError, match=r"changed meanwhile, from .* to “33MB”"):
        changing.change(one, value="44MB", **values)
    assert in_a_new_session("log_temp_files") == "33MB"


def test_what_needs_a_restart_waits_for_it(admin: Client, alone: None) -> None:
    now = in_a_new_session("max_worker_processes")
    address, typed = f"{PAGE}max_worker_processes/", {"typed": "max_worker_processes"}
    told = body(admin.post(address, looked(admin, address, value="9") | typed, follow=True))
    assert (
        f"max_worker_processes is written and waits for a restart of PostgreSQL; until then it is {now}."
        in told
    )
    # A session hears of it some moments after the one that the change looked at.
    waits = "1 setting waits for a restart of PostgreSQL: max_worker_processes (9)."
    until(lambda: waits in body(admin.get(PAGE)))
    until(lambda: any("max_worker_processes" in finding.sentence for finding in judged.find()))
    body(admin.post(address, looked(admin, address, reset="1") | typed, follow=True))
    until(lambda: "waits for a restart of PostgreSQL: max" not in body(admin.get(PAGE)))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("work_mem", "lots", "work_mem takes a number with a unit"),
        ("work_mem", "1kB", "work_mem lies between 64kB and"),
        ("work_mem", "4mb", "units are spelled as there"),
        ("jit", "maybe", "jit is on or off."),
        ("wal_compression", "best", "wal_compression is one of"),
        ("max_connections", "10.5", "max_connections takes a whole number."),
        ("max_connections", "100", "max_connections is 100 already."),
    ],
)
def test_bad_values_change_nothing(admin: Client, name: str, value: str, sentence: str) -> None:
    page = body(admin.post(f"{PAGE}{name}/", {"step": "look", "value": value}), 400)
    assert sentence in page


def test_only_these_settings_and_only_administrators(admin: Client) -> None:
    assert admin.get(f"{PAGE}archive_command/").status_code == 404
    assert admin.get(f"{PAGE}shared_preload_libraries/").status_code == 404
    operator = client_of("operator")
    assert "Change…" not in body(operator.get(PAGE))
    for address in (f"{PAGE}work_mem/", f"{PAGE}restart/"):
        assert operator.get(address).status_code == 403
    assert operator.post(f"{PAGE}reload/").status_code == 403
    assert not Event.objects.filter(kind__startswith="postgres.").exists()


def test_the_files_are_read_again(admin: Client) -> None:
    assert "has read its configuration files again" in body(admin.post(f"{PAGE}reload/", follow=True))
    assert Event.objects.filter(kind="postgres.reloaded").count() == 1


def test_the_role_can_see_faults_of_the_files() -> None:
    assert reading.why_no_files() == ""
    assert reading.file_errors() == []
    assert reading.may_reload()


ROW = Parameter(
    "work_mem",
    "8192",
    "kB",
    "user",
    "integer",
    [],
    "64",
    "2147483647",
    "configuration file",
    "/x/postgresql.auto.conf",
    3,
    False,
    True,
)


def altered(**changes: Any) -> Parameter:
    return Parameter(**{**ROW.__dict__, **changes})


@pytest.mark.parametrize(
    ("after", "value", "state", "sentence"),
    [
        (ROW, "8MB", "good", "is 8MB now"),
        (altered(pending=True), "8MB", "warn", "waits for a restart"),
        (altered(source="command line", sourcefile=None, value="4096"), "8MB", "bad", "command line sets it"),
        (altered(source="user", sourcefile=None, value="4096"), "8MB", "bad", "ALTER ROLE"),
        (
            altered(sourcefile="/x/arc.conf", value="4096"),
            "8MB",
            "bad",
            "a new session has 4MB, from arc.conf, line 3",
        ),
        (altered(value="4096"), "8MB", "bad", "a new session has 4MB, from ALTER SYSTEM"),
        (ROW, None, "bad", "still comes from ALTER SYSTEM"),
        (altered(sourcefile="/x/arc.conf"), None, "good", "again, from: arc.conf, line 3"),
        (altered(source="default", sourcefile=None), None, "good", "again, from: default"),
        (altered(source="default", sourcefile=None, pending=True), None, "good", "again, from: default"),
        (altered(pending=True), None, "warn", "waits for a restart"),
        (None, "8MB", "unknown", "no longer knows"),
    ],
)
def test_the_effect_is_told_as_it_is(
    after: Parameter | None, value: str | None, state: str, sentence: str
) -> None:
    found = changing.effect(after, value)
    assert found.state == state
    assert sentence in found.sentence
    if after is not None:
        assert changing.effect(after, value, "it is odd").state == "bad"


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    layout, lock = new_layout()
    stack = Stack(layout, replace(THROWAWAY, roles=()))
    stack.start()
    yield stack
    stack.destroy()
    lock.close()


def ask(stack: Stack, statement: str) -> Any:
    with superuser(stack.layout, "postgres") as server:
        cursor = server.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_a_restart_is_asked_for_by_a_page_and_done_by_make_run(
    own: Stack, settings: Any, admin: Client
) -> None:
    settings.ARC_LAYOUT = own.layout
    said: list[str] = []
    refused = body(admin.post(f"{PAGE}restart/", {"typed": "restart"}), 409)
    assert "No `make run` looks after this PostgreSQL" in refused
    restarter = Restarter(own.layout, own.postgres, said.append)
    with run_lock(own.layout, Holder(os.getpid(), "http://here/")):
        assert "Type restart to confirm" in body(admin.post(f"{PAGE}restart/", {"typed": "yes"}), 400)
        assert restarter.look() is None
        ask(own, "ALTER SYSTEM SET max_worker_processes = 11")
        began = ask(own, "SELECT pg_postmaster_start_time()")
        admin.post(f"{PAGE}restart/", {"typed": "restart"})
        assert Event.objects.filter(kind="postgres.restart_asked").count() == 1
        assert restart.under_way(own.layout)
        assert "A restart of PostgreSQL was asked for" in body(admin.get(PAGE))
        done = restarter.look()
    assert done is not None
    assert done.well
    assert not restart.under_way(own.layout)
    assert ask(own, "SELECT pg_postmaster_start_time()") > began
    assert ask(own, "SHOW max_worker_processes") == "11"
    assert "PostgreSQL was restarted." in body(admin.get(PAGE))
    assert restarter.look() is None, "once"

    # A value with which it cannot start: more memory than any machine has.
    ask(own, "ALTER SYSTEM SET shared_buffers = '7TB'")
    restart.ask(own.layout, "admin")
    done = restarter.look()
    assert done is not None
    assert not done.well
    assert "put back" in done.sentence
    assert ask(own, "SHOW shared_buffers") == "64MB"
    assert ask(own, "SHOW max_worker_processes") == "11"
    assert "7TB" in (own.postgres.folder / "postgresql.auto.conf.refused").read_text()
    assert "put back" in body(admin.get(PAGE))


def test_a_fault_in_a_file_is_seen(own: Stack) -> None:
    with superuser(own.layout, "arc") as server:
        file = own.postgres.folder / "arc.conf"
        file.write_text(file.read_text() + "work_mem = 'much'\n")
        server.execute("SELECT pg_reload_conf()")
        found = server.execute(reading.FILE_ERRORS).fetchall()
        server.execute("SET ROLE arc")
        assert server.execute(reading.MAY_SEE_FILES).fetchone() == (True,)
        assert server.execute(reading.FILE_ERRORS).fetchall() == found
        file.write_text(file.read_text().removesuffix("work_mem = 'much'\n"))
    assert [(name, Path(path).name) for name, path, _, _ in found] == [("work_mem", "arc.conf")]
    errors = [reading.FileError(*row) for row in found]
    assert "does not take line" in judged.of_file_errors(errors)[0].sentence


def test_without_the_grants_the_page_says_which_are_missing(own: Stack) -> None:
    row = Parameter(**{**ROW.__dict__, "may": False})
    assert f'GRANT ALTER SYSTEM ON PARAMETER work_mem TO "{standing.standing().role}";' in reading.why_not(
        row
    )
    with superuser(own.layout, "arc") as server:
        server.execute("REVOKE SELECT ON pg_file_settings FROM arc")
        server.execute("SET ROLE arc")
        assert server.execute(reading.MAY_SEE_FILES).fetchone() == (False,)
