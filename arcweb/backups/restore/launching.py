"""Starts `manage.py backup …` in a session of its own, so that it outlives the worker or page that asked."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

from django.conf import settings

from arcweb.backups.restore.running import folder
from arcweb.embedded.processes import trim_log


def spawn(*arguments: str) -> int:
    """Start it and do not wait; its process number. What it says goes to journal/log. Raises OSError.

    It has this process's environment, and so its settings and secrets; nothing secret is in its arguments.
    """
    journals = folder()
    journals.make()
    with suppress(OSError):  # a full disk must not keep away who settles
        trim_log(journals.path / "log")
    log = os.open(journals.path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):
            os.write(log, f"{stamp} backup {' '.join(arguments)}\n".encode())
        # A child of a child: nobody here has to wait for its end, and it leaves no zombie.
        done = subprocess.run(
            [
                *(sys.executable, "-c", DETACH, str(log)),
                *(sys.executable, str(settings.BASE_DIR / "manage.py"), "backup", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[log],
            check=True,
            timeout=30,
        )
        return int(done.stdout)
    finally:
        os.close(log)


#: Prints the number of the process that it leaves behind. Its own output is the log.
DETACH = """
import subprocess, sys
log = int(sys.argv[1])
child = subprocess.Popen(
    sys.argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
)
print(child.pid)
"""
