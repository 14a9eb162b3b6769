"""Where the embedded stack keeps its things. Pure: reads files, starts nothing, imports no Django.

$ARC_DATA_DIR/
  admin-password      the generated password of `admin`, mode 600
  secrets/            one file a secret, mode 600
  log/                one file a process
  run/                pid files, lock, socket folder when its path is short and plain
  servers/            what PostgreSQL and Valkey write; a link elsewhere when their user cannot
                      reach this folder (root with a private checkout)
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

#: sockaddr_un holds 107 bytes and a NUL; the longest name put behind the folder is ".s.PGSQL.5432".
LONGEST_SOCKET_FOLDER = 90
#: Not TMPDIR's folder, which differs between a terminal and cron.
TEMPORARY = Path("/tmp")  # noqa: S108 - a folder that a stranger made there is refused
#: The Celery workers of `make run`, which are also the first part of their node names, and their queues.
WORKERS = {"worker": "celery", "worker-quick": "quick"}
#: What needs no quoting in a libpq host list, a Redis URL and a server's configuration file.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
TRAVERSE_BY_ALL = 0o001
SECRETS = (
    "secret-key",
    "postgres-password",
    "postgres-superuser-password",
    "replication-password",
    "redis-password",
)


def open_to_all(path: Path) -> bool:
    """Whether any account can reach `path`: every folder above it, and itself if it is one, has o+x.

    Looks at both the path as written and where its links lead; what does not exist yet counts as open,
    because `arcweb.embedded.files.make_folder` creates it so. Groups and ACLs are left out on purpose:
    the answer must not depend on who asks.
    """
    for place in {path, path.resolve()}:
        for folder in (place, *place.parents):
            if folder.is_dir() and not folder.stat().st_mode & TRAVERSE_BY_ALL:
                return False
    return True


@dataclass(frozen=True)
class Layout:
    """Paths and addresses below one data folder; `data_dir` is absolute."""

    data_dir: Path

    @property
    def admin_password_file(self) -> Path:
        return self.data_dir / "admin-password"

    @property
    def secrets_dir(self) -> Path:
        return self.data_dir / "secrets"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def run_dir(self) -> Path:
        return self.data_dir / "run"

    @property
    def servers_dir(self) -> Path:
        return self.data_dir / "servers"

    @property
    def lock_file(self) -> Path:
        """Held (flock) by `make run`; says who holds it."""
        return self.run_dir / "run.lock"

    @property
    def children_file(self) -> Path:
        """The process groups of the running `make run`, for the next one."""
        return self.run_dir / "children.json"

    def worker_ready_file(self, worker: str) -> Path:
        """The process number of the last Celery worker of that name (one of WORKERS) that became ready."""
        return self.run_dir / f"{worker}.ready"

    @property
    def real_servers_dir(self) -> Path:
        """`servers/` where its link leads. Nothing below may be a link: the servers' account writes there."""
        return self.servers_dir.resolve()

    @property
    def postgres_dir(self) -> Path:
        return self.servers_dir / "postgres"

    def valkey_dir(self, role: str) -> Path:
        """role: "cache" or "state"."""
        return self.servers_dir / f"valkey-{role}"

    @property
    def socket_dir(self) -> Path:
        """A folder whose path every server and client takes unquoted and whole.

        Below the data folder when that path is short, plain and, as root, reachable by the account
        that the servers run as; else one in /tmp that is named after the data folder and the user, so
        that each clone has its own. Servers and clients reach the same answer on their own: it depends
        on paths and permissions alone.
        """
        inside = self.run_dir / "sockets"
        plain = PLAIN_PATH.fullmatch(str(inside)) and len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER
        # The folder itself is closed to others on purpose: only what leads to it counts.
        if plain and (os.getuid() != 0 or open_to_all(self.run_dir)):
            return inside
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return TEMPORARY / f"arcweb-{os.getuid()}-{name}"

    @property
    def real_socket_dir(self) -> Path:
        """The same folder without a link above it."""
        return self.socket_dir.parent.resolve() / self.socket_dir.name

    def strange_sockets(self) -> str:
        """A sentence when somebody else holds the socket folder, to whom no password may be sent; else ""."""
        folder = self.socket_dir
        try:
            found = folder.lstat()
        except OSError:
            return ""  # nothing runs, so nothing is sent
        owners = {os.getuid()}
        if os.getuid() == 0 and self.servers_dir.is_dir():
            owners.add(self.servers_dir.stat().st_uid)
        if stat.S_ISDIR(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077:
            return ""
        return (
            f"{folder}, where the embedded servers are reached, is a link, open to others or another user's. "
            "Find out who made it, remove it and start again."
        )

    def valkey_socket(self, role: str) -> Path:
        return self.socket_dir / f"valkey-{role}.sock"

    @property
    def model_socket(self) -> Path:
        return self.socket_dir / "model.sock"

    def read_secret(self, name: str) -> str:
        """The secret of that name (one of SECRETS), or "" while the stack has never been started."""
        try:
            return (self.secrets_dir / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def redis_url(self, role: str) -> str:
        """redis-py's URL of that role's socket, password included: never to be shown."""
        password = quote(self.read_secret("redis-password"), safe="")
        return f"unix://:{password}@{self.valkey_socket(role)}?db=0"
