"""Pytest plugin: throw-away PostgreSQL and Valkey for one test run. Loaded early by `-p tests.stack`.

With ARC_TEST_REDIS=/usr/bin/redis-server that program serves both Redis roles instead of Valkey.

Settings read the environment on import, so the environment is made here, before pytest-django reads
them: nothing of the caller's configuration is left, and everything points to a folder of this run alone.
The main process starts the servers; xdist's workers inherit them and use Redis databases of their own.
The servers die with the main process, however it ends; what a killed run left behind is swept here.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

import pytest

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import prepare_data_folder
from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack, StackOptions, delete_data

PREFIX = "arcweb-test-"
CLEARED = ("ARC_", "POSTGRES_", "PG", "REDIS_", "OPENAI_", "DJANGO_")
IN_WORKER = "PYTEST_XDIST_WORKER" in os.environ
#: The program of a Redis server to use instead of Valkey: the same tests against the other product.
REDIS_SERVER = os.environ.get("ARC_TEST_REDIS", "")
PRODUCT = "Redis" if REDIS_SERVER else "Valkey"
THROWAWAY = StackOptions(throwaway=True, dies_with_parent=True, redis_server=REDIS_SERVER)


def new_layout() -> tuple[Layout, IO[str]]:
    """An empty data folder in the temporary folder, and its lock: while that is held nobody sweeps it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)
    lock = (folder / "lock.new").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "lock.new").rename(folder / "lock")  # nobody ever finds one that is not held
    return Layout(folder), lock


def sweep() -> None:
    """Deletes the folders of runs that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Stack(Layout(folder), THROWAWAY).destroy()
        except FileNotFoundError:
            continue  # a run that is just starting has no lock yet
        except (BlockingIOError, EmbeddedError):
            continue


def prepare_main_process() -> Stack:
    for name in [name for name in os.environ if name.startswith(CLEARED)]:
        del os.environ[name]
    sweep()
    layout, lock = new_layout()
    prepare_data_folder(layout)
    atexit.register(delete_data, layout)
    atexit.register(lock.fileno)  # keeps the lock open until then
    os.environ["ARC_ENV_FILE"] = ""
    os.environ["ARC_DATA_DIR"] = str(layout.data_dir)
    if REDIS_SERVER:
        os.environ["ARC_TEST_REDIS"] = REDIS_SERVER  # for the workers
    os.environ["ARC_MODEL_SERVER"] = ""  # the local model is loaded into the process that asks
    return Stack(layout, THROWAWAY)


def collect_static() -> None:
    """Style sheets and scripts under their hashed names, in the run's own folder."""
    from django.core.management import call_command  # the settings are ready by now

    call_command("collectstatic", interactive=False, verbosity=0)


def prepare_worker() -> None:
    """Redis databases of this worker's own: gw0 has 1, gw1 has 2 … in both roles."""
    layout = Layout(Path(os.environ["ARC_DATA_DIR"]))
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) + 1
    for role, name in (("cache", "REDIS_URL"), ("state", "REDIS_STATE_URL")):
        os.environ[name] = layout.redis_url(role).removesuffix("db=0") + f"db={number}"


STACK: Stack | None = None
if IN_WORKER:
    prepare_worker()
else:
    STACK = prepare_main_process()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if STACK is None or session.config.option.collectonly:
        return
    try:
        STACK.start()
        collect_static()
    except EmbeddedError as error:
        pytest.exit(f"the throw-away servers did not start: {error}", returncode=3)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if STACK is not None and STACK.layout.run_dir.is_dir():
        STACK.destroy()
    if STACK is not None:
        shutil.rmtree(STACK.layout.data_dir, ignore_errors=True)
