"""The server's machine: measured where it is this one, else as an operator states it, never guessed."""

from __future__ import annotations

import psutil
from django.conf import settings
from django.db import connection

from arcweb.database.tuning.rules import Machine
from arcweb.database.tuning.units import memory
from arcweb.embedded.memory import usable_memory


def machine(ram: int | None = None, cores: int | None = None) -> Machine:
    """ram (bytes) and cores: what somebody states on the page, before anything else."""
    stated = settings.ARC_POSTGRES_MEMORY
    known = Machine(
        memory(stated) if stated else None, settings.ARC_POSTGRES_CORES or None, "as ARC_POSTGRES_* say"
    )
    if is_this_machine():
        known = Machine(
            known.ram or usable_memory(),
            known.cores or _cores(),
            "measured, the server runs on this machine" if not (known.ram or known.cores) else known.source,
        )
    if ram or cores:
        return Machine(ram or known.ram, cores or known.cores, "as stated for this look")
    if known.ram is None and known.cores is None:
        return Machine(None, None, "not known: the server runs elsewhere")
    return known


def _cores() -> int | None:
    """Those that this process may run on."""
    own = psutil.Process()
    count: int | None = len(own.cpu_affinity()) if hasattr(own, "cpu_affinity") else psutil.cpu_count()
    return count


def is_this_machine() -> bool:
    """Over a socket on both ends: a pooler here may stand before a server elsewhere."""
    if not str(connection.settings_dict["HOST"] or "").startswith("/"):
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT inet_server_addr() IS NULL")
        return bool(cursor.fetchone()[0])
