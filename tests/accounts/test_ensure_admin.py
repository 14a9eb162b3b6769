"""manage.py ensure_admin"""

from __future__ import annotations

import stat
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from arcweb.accounts import first_admin
from arcweb.embedded.layout import Layout
from arcweb.events.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path, settings: Any) -> Path:
    settings.ARC_LAYOUT = Layout(tmp_path / "data")
    return tmp_path / "data" / "admin-password"


def ensure() -> str:
    out = StringIO()
    call_command("ensure_admin", stdout=out)
    return out.getvalue()


def test_the_first_call_makes_admin_and_keeps_the_password_in_a_private_file(file: Path) -> None:
    said = ensure()
    password = file.read_text().strip()
    assert authenticate(username="admin", password=password) == User.objects.get(is_superuser=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(password) >= 24
    assert str(file) in said
    assert password not in said
    assert [path.name for path in file.parent.iterdir()] == ["admin-password"]
    assert Event.objects.get().kind == "user.added"


def test_later_calls_change_nothing(file: Path) -> None:
    ensure()
    before = (file.read_text(), User.objects.values().get())
    assert str(file) in ensure()
    assert (file.read_text(), User.objects.values().get()) == before


def test_a_lost_file_is_not_replaced_but_the_way_out_is_told(file: Path) -> None:
    ensure()
    file.unlink()
    assert "manage.py changepassword admin" in ensure()
    assert not file.exists()


def test_any_superuser_is_enough_and_a_plain_user_named_admin_is_not_promoted(file: Path) -> None:
    User.objects.create_user("admin")
    with pytest.raises(CommandError, match="createsuperuser"):
        ensure()
    assert not file.exists()
    User.objects.create_superuser("ada")
    assert "changepassword ada" in ensure()
    assert not User.objects.get(username="admin").is_superuser


def test_no_user_is_made_whose_password_cannot_be_written(file: Path) -> None:
    file.parent.write_text("a file where the folder should be")
    with pytest.raises(CommandError, match="ARC_DATA_DIR"):
        ensure()
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_calls_at_once_make_one_admin_whose_password_is_in_the_file(file: Path) -> None:
    start = threading.Barrier(3)
    results: list[first_admin.FirstAdmin] = []

    def call() -> None:
        start.wait()
        try:
            results.append(first_admin.ensure(file))
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.created for result in results) == [False, False, True]
    assert authenticate(username="admin", password=file.read_text().strip())
