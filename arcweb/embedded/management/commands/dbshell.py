"""Django's dbshell with a psql of the server's major version: \\d and its like read the catalogs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.commands import dbshell
from django.db import DatabaseError, connections

from arcweb.backups import server
from arcweb.backups.exceptions import ToolError
from arcweb.embedded.binaries import installed


class Command(dbshell.Command):
    def handle(self, **options: Any) -> None:
        if folder := self._folder(options["database"]):
            os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
        super().handle(**options)

    def _folder(self, alias: str) -> Path | None:
        """Where that psql is; None: whatever PATH has, said on stderr, unless psql itself will say why."""
        if settings.ARC_EMBEDDED:
            return installed().postgres
        try:
            connections[alias].ensure_connection()
            return server.program("psql", connections[alias].connection).path.parent
        except DatabaseError:
            return None
        except ToolError as error:
            self.stderr.write(f"{error} Until then the psql in PATH is used.")
            return None
        finally:
            connections[alias].close()
