"""Django's dbshell, with the embedded server's own psql found first: versions always match."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.commands import dbshell

from arcweb.embedded.binaries import installed


class Command(dbshell.Command):
    def handle(self, **options: Any) -> None:
        if settings.ARC_EMBEDDED:
            os.environ["PATH"] = os.pathsep.join(
                [str(installed().postgres), os.environ.get("PATH", os.defpath)]
            )
        super().handle(**options)
