"""Whether a base backup is at fault for what failed on it, or the machine that tried it."""

from __future__ import annotations

import re

import psycopg

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.proving.ladder import NotTried

#: Words of the system, and ends by signals that somebody sends; a crash (SIGSEGV) may well be the copy's.
CIRCUMSTANCES = re.compile(
    r"No space left|[Dd]isk quota|Cannot allocate memory|[Oo]ut of memory|[Tt]oo many open files"
    r"|was ended by SIG(?:KILL|TERM|INT|HUP|QUIT)|\(code -(?:9|15|2|1|3)\)"
)
#: Classes of SQLSTATE: connections, resources, somebody's intervention
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
CLASSES = ("08", "53", "57")


def judged(error: Exception, sentence: str) -> BackupError:
    """What to raise for it: CorruptCopy with that sentence, or NotTried where the copy is not at fault."""
    if isinstance(error, psycopg.Error):
        innocent = error.sqlstate is None or error.sqlstate[:2] in CLASSES
    else:
        innocent = CIRCUMSTANCES.search(str(error)) is not None
    if innocent:
        return NotTried(f"{sentence} The copy is not known to be at fault: try again.")
    return CorruptCopy(sentence)
