"""The write-ahead log's archive of the embedded PostgreSQL, below the servers' folder. No Django.

servers/
  archive-wal.sh   what PostgreSQL runs for each finished file; relative to the cluster, so that no path of
                   this machine, with spaces, quotes or percent signs, goes through its shell
  restore-wal.sh   the way back
  wal-archive/     NAME.gz; a mostly empty file, as archive_timeout makes them, takes a few kilobytes
"""

from __future__ import annotations

from pathlib import Path

from arcweb.embedded.files import PRIVATE, make_folder, write_private
from arcweb.embedded.server_user import ServerUser

ARCHIVE = "wal-archive"
PROGRAMS = ("archive-wal.sh", "restore-wal.sh")
#: The server works inside its cluster, which stands beside the programs. %p and %f hold no quotes.
ARCHIVE_COMMAND = f'sh ../archive-wal.sh ../{ARCHIVE} "%p" "%f"'
#: From inside a cluster that stands beside the live one.
RESTORE_COMMAND = f'sh ../restore-wal.sh ../{ARCHIVE} "%f" "%p"'
#: How much a lost disk costs at most when little is written.
ARCHIVE_TIMEOUT = "5min"


def prepare(servers: Path, owner: ServerUser) -> None:
    """Makes the archive and its programs in the servers' folder; what exists is kept."""
    make_folder(servers / ARCHIVE, mode=PRIVATE, owner=owner)
    for name in PROGRAMS:
        write_private(servers / name, Path(__file__).with_name(name).read_text(), owner=owner)
