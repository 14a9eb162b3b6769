"""The account that PostgreSQL and Valkey run as. PostgreSQL refuses to run as root. No Django."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcweb.embedded.errors import EmbeddedError

DEFAULT_ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class ServerUser:
    """An account; as an ordinary user it can only be that user itself."""

    name: str
    uid: int
    gid: int

    @property
    def switches(self) -> bool:
        """Whether starting a server means to become another account."""
        return self.uid != os.getuid()

    def popen_options(self) -> dict[str, Any]:
        """What subprocess needs to start a program as this account: no group of root's remains."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switches else {}

    def take(self, target: Path | int) -> None:
        """Gives a file or folder (path, or descriptor) to this account; links are not followed."""
        if not self.switches:
            return
        if isinstance(target, int):
            os.fchown(target, self.uid, self.gid)
        else:
            os.chown(target, self.uid, self.gid, follow_symlinks=False)


def server_user(wanted: str, data: Path) -> ServerUser:
    """Whom the servers run as.

    Args: wanted: ARC_SERVER_USER, or "". data: `servers/`, in a folder that only root can write; once it
    exists its owner decides, so that an account that appears later (a package that brings `postgres`)
    changes nothing.
    Raises EmbeddedError with what to do.
    """
    me = os.getuid()
    if me != 0:
        return ServerUser(_name(me), me, os.getgid())
    if data.is_dir() and (found := data.stat()).st_uid != 0:
        owner = ServerUser(_name(found.st_uid), found.st_uid, found.st_gid)
        if wanted not in {"", owner.name}:
            raise EmbeddedError(
                f"ARC_SERVER_USER is {wanted}, but the data in {data} belongs to {owner.name}. Take the "
                f"variable away, or stop the stack and give the folder to {wanted} (chown -R)."
            )
        return owner
    for name in (wanted,) if wanted else DEFAULT_ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return ServerUser(name, account.pw_uid, account.pw_gid)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no ordinary account "
        f"{wanted or ' or '.join(DEFAULT_ACCOUNTS)}. "
        "Set ARC_SERVER_USER to an existing account, or start as an ordinary user."
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
