"""System checks of backups: each has an id and a hint that says what to do. They connect to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register  # noqa: A004 - Django's name

from arcweb.backups import encryption, places
from arcweb.backups.places.base import PlaceError


@register("backups")
def copies_can_be_opened(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """backups.E001, backups.W001: recipients and identities are not as they should be."""
    return [
        Error(trouble.sentence, hint=trouble.hint, id="backups.E001")
        if trouble.fatal
        else Warning(trouble.sentence, hint=trouble.hint, id="backups.W001")
        for trouble in encryption.troubles()
    ]


@register("backups")
def the_store_can_be_entered(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """backups.E002, backups.W002: the S3-compatible store is not set up as it should be."""
    if not places.has_store():
        return []
    try:
        places.store()
    except PlaceError as error:
        return [Error(str(error), hint="docs/backups/places.md says what it needs.", id="backups.E002")]
    if settings.ARC_BACKUP_S3_ENDPOINT.startswith("http://") and not settings.ARC_BACKUP_RECIPIENTS:
        return [
            Warning(
                "Copies, which hold everything, go to the store without TLS and without encryption.",
                hint="Give ARC_BACKUP_S3_ENDPOINT an https:// address, or set ARC_BACKUP_RECIPIENTS.",
                id="backups.W002",
            )
        ]
    return []


@register("backups", deploy=True)
def a_place_is_elsewhere(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """backups.I001, of `check --deploy`: every copy is on this machine."""
    if places.has_store():
        return []
    return [
        Info(
            f"Every copy is on this machine, in {settings.ARC_BACKUP_DIR}: what takes it takes them all.",
            hint="Set ARC_BACKUP_S3_BUCKET (docs/backups/places.md), or carry the folder elsewhere yourself.",
            id="backups.I001",
        )
    ]
