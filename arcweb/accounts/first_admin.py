"""The first superuser: made once, its generated password in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import connection, transaction

from arcweb.events import record

NAME = "admin"
PASSWORD_BYTES = 18  # 144 bits, 24 characters

#: Two that start at once must not both find no superuser.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('arcweb.accounts.first_admin', 0))"


class FirstAdmin(NamedTuple):
    created: bool
    user: str  #: the name of a superuser
    file_exists: bool


class NameTakenError(Exception):
    """There is no superuser, but a user of that name."""


def ensure(password_file: Path) -> FirstAdmin:
    """Make the superuser `admin` if there is no superuser at all.

    The file is there before the user is committed: a crash between the two leaves a password for
    nobody, which the next call replaces, never a user whose password nobody knows. Raises
    NameTakenError, and OSError when the file cannot be written.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
        superusers = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
        if known := superusers.first():
            return FirstAdmin(False, known.username, password_file.is_file())
        if User.objects.filter(username=NAME).exists():
            raise NameTakenError(NAME)
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        user = User.objects.create_superuser(NAME, password=password)
        record("user.added", obj=user)
        _write_secret(password_file, password)
    return FirstAdmin(True, NAME, True)


def _write_secret(path: Path, secret: str) -> None:
    """Atomically, mode 600 from the first byte on, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes it 600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
