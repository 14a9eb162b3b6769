"""What the settings say to the verdict: what waits, what is faulty, what may not fit into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.urls import reverse

from arcweb.charts import size
from arcweb.database.findings import Finding, Look, register_look
from arcweb.database.tuning import load, machine, reading
from arcweb.database.tuning.catalogue import SETTINGS
from arcweb.database.tuning.reading import FileError, Line
from arcweb.database.tuning.rules import Machine, Worst


def of_pending(names: Mapping[str, str]) -> list[Finding]:
    """names: of the settings, with the values that wait."""
    if not names:
        return []
    each = ", ".join(f"{name} ({value})" if value else name for name, value in names.items())
    return [
        Finding(
            "warn",
            f"{len(names)} setting{'s wait' if len(names) > 1 else ' waits'} for a restart of PostgreSQL: "
            f"{each}.",
            reverse("admin:database_tuning"),
            "Show the settings",
            why="pg_settings.pending_restart. Until then the old values hold.",
        )
    ]


def of_file_errors(errors: Sequence[FileError]) -> list[Finding]:
    return [
        Finding(
            "bad",
            f"The server does not take line {error.sourceline} of {error.sourcefile}"
            f"{f' ({error.name})' if error.name else ''}: {error.error}. It may not start again.",
            reverse("admin:database_tuning"),
            "Show the settings",
            statement=f"ALTER SYSTEM RESET {error.name};" if error.sourcefile.endswith(reading.AUTO) else "",
            why="pg_file_settings.error.",
        )
        for error in errors
    ]


def of_worst(worst: Worst | None, now: Machine) -> list[Finding]:
    if worst is None or now.ram is None or worst.total <= now.ram:
        return []
    return [
        Finding(
            "warn",
            f"At the peak of connections PostgreSQL may take {size(worst.total)} at worst, of "
            f"{size(now.ram)} of memory.",
            f"{reverse('admin:database_tuning')}#worst",
            "Show the sum",
            why="shared_buffers + connections x work_mem x hash_mem_multiplier + autovacuum and parallel "
            "workers: "
            "beyond its memory a machine swaps, or ends the server (PostgreSQL's manual, 18.4.4).",
        )
    ]


def of_lines(lines: Sequence[Line]) -> list[Finding]:
    """One finding for all settings other than recommended."""
    off = [line for line in lines if line.off]
    if not off:
        return []
    named = ", ".join(line.setting.name for line in off[:4])
    more = f" and {len(off) - 4} more" if len(off) > 4 else ""
    return [
        Finding(
            "warn",
            f"{len(off)} setting{'s are' if len(off) > 1 else ' is'} other than recommended: {named}{more}.",
            statement="\n".join(line.statement for line in off),
        )
    ]


def find() -> list[Finding]:
    """For the overview: not what would merely be better."""
    found = of_pending(reading.pending())
    if not reading.why_no_files():
        found += of_file_errors(reading.file_errors())
    peak = load.peak_connections()
    if peak is not None:
        found += of_worst(reading.worst(reading.parameters(SETTINGS), peak), machine.machine())
    return found


register_look(Look("tuning", "Settings", find, "admin:database_tuning", order=50))
