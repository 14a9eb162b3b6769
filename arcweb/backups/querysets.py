"""Named queries of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models

if TYPE_CHECKING:
    from arcweb.backups.models import Backup  # noqa: F401


class BackupQuerySet(models.QuerySet["Backup"]):
    def present(self) -> Self:
        """Copies whose files should stand somewhere, good or bad."""
        return self.filter(state__in=["written", "hashed", "verified", "bad"])

    def proven(self) -> Self:
        """Copies that count: restored and compared, and not found bad since; newest restore point first."""
        return self.filter(state="verified").order_by("-taken_at")

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")
