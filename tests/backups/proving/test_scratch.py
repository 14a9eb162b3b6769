"""Scratch databases go, whatever becomes of those who made them."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys

import pytest

from arcweb.backups import scratch, server
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample
from tests.waiting import until


def test_what_a_killed_process_left_is_swept_by_the_next(source: Sample) -> None:
    script = (
        "import django; django.setup()\n"
        "from arcweb.backups import scratch\n"
        "import time\n"
        "with scratch.database('test') as name:\n"
        "    print(name, flush=True)\n"
        "    time.sleep(600)\n"
    )
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "arcweb.settings"}
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert name in sample.scratches()
    with scratch.keeping("test") as connection:
        assert name not in scratch.sweep(connection)  # its maker lives
        child.send_signal(signal.SIGKILL)
        child.wait()

        def gone() -> bool:
            scratch.sweep(connection)
            return name not in sample.scratches()

        until(gone, 60, "the end of what the killed one had open")
        assert source.name in sample.scratches()
    with pytest.raises(ValueError, match="is no scratch database"):
        scratch.drop(connection, "arc")


def test_a_maker_between_two_sessions_keeps_its_database() -> None:
    name = f"{scratch.PREFIX}{secrets.token_hex(6)}"
    with scratch.keeping("test") as maker, scratch.keeping("test") as another:
        maker.execute(scratch.LOCK, [name])
        try:
            scratch.create(maker, name)
            assert name not in scratch.sweep(another)
            assert name in sample.scratches()
            maker.execute(scratch.UNLOCK, [name])

            def gone() -> bool:
                scratch.sweep(another)
                return name not in sample.scratches()

            until(gone, 60, "the end of the database whose lock is nobody's")
        finally:
            scratch.drop(maker, name)


def test_nobody_else_may_connect_to_a_scratch_database() -> None:
    with scratch.database("test") as name, server.connect(name) as connection:
        row = connection.execute(
            "SELECT datacl::text FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        assert re.search(r"[{,]=", row[0]) is None
