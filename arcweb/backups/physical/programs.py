"""PostgreSQL's programs of one major version, and the account that they run as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from arcweb.backups import tools
from arcweb.backups.exceptions import BackupError
from arcweb.backups.processes import run
from arcweb.embedded import binaries
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.server_user import ServerUser, server_user


def account() -> ServerUser:
    """Whom servers run as here. Raises BackupError when that is nobody: PostgreSQL does not run as root."""
    try:
        return server_user(settings.ARC_SERVER_USER, settings.ARC_LAYOUT.servers_dir)
    except EmbeddedError as error:
        raise BackupError(str(error)) from error


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs of one major version, which that account can run."""

    version: int  #: server_version_num
    user: ServerUser

    def find(self, name: str) -> Path:
        """Raises ToolError."""
        return tools.find(name, self.version, self._folders()).path

    def run(self, name: str, *arguments: str | Path, cwd: Path) -> bytes:
        """As the account, to its good end; what it printed. Raises ToolError."""
        return run(
            [self.find(name), *arguments], {"TZ": "UTC"}, cwd=cwd, umask=0o077, **self.user.popen_options()
        )

    def _folders(self) -> list[Path]:
        if settings.ARC_POSTGRES_TOOLS:
            return [Path(settings.ARC_POSTGRES_TOOLS)]
        try:
            found = binaries.for_other_account() if self.user.switches else binaries.installed()
        except EmbeddedError:
            return []
        return [found.postgres]
