"""To whom copies are encrypted, and with what they are opened here, by age (https://age-encryption.org).

The recipients are public and stand in ARC_BACKUP_RECIPIENTS; the identity is a secret and stays in the file
ARC_BACKUP_IDENTITY_FILE, which is read anew each time: never in the database, in a log or in a sentence.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyrage
from django.conf import settings

from arcweb.backups.exceptions import KeyMissing

#: Bytes; a file of identities has a few lines.
LONGEST = 64 * 1024
MAKE = "`age-keygen -o FILE` makes an identity and says its recipient."


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the settings. fatal: copies cannot be taken, or are taken unlike they should be."""

    sentence: str
    hint: str
    fatal: bool = True


def recipients() -> list[str]:
    """Those of the settings, each checked; none: copies are not encrypted. Raises KeyMissing in words."""
    for number, text in enumerate(settings.ARC_BACKUP_RECIPIENTS, 1):
        try:
            pyrage.x25519.Recipient.from_str(text)
        except pyrage.RecipientError:
            # Somebody may have put the identity there: it must not be repeated.
            raise KeyMissing(
                f"Number {number} of ARC_BACKUP_RECIPIENTS is no recipient of age (age1…). {MAKE}"
            ) from None
    return list(settings.ARC_BACKUP_RECIPIENTS)


def identities() -> list[str]:
    """Those of the file of the settings; none when it names none. Raises KeyMissing in words."""
    if not settings.ARC_BACKUP_IDENTITY_FILE:
        return []
    path = Path(settings.ARC_BACKUP_IDENTITY_FILE)
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise KeyMissing(
            f"The file of ARC_BACKUP_IDENTITY_FILE, {path}, cannot be read: {error.strerror or error}. "
            "Encrypted copies can be opened with it alone."
        ) from error
    lines = text[:LONGEST].decode("utf-8", "replace").splitlines()
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for number, line in enumerate(found, 1):
        _public(line, f"Identity {number} in {path}")
    if not found:
        raise KeyMissing(f"{path} (ARC_BACKUP_IDENTITY_FILE) holds no identity of age. {MAKE}")
    return found


def fits(keys: Sequence[str], to: Sequence[str]) -> bool:
    """Whether one of the identities opens what is encrypted to these recipients."""
    return bool({_public(key, "An identity") for key in keys} & set(to))


def troubles() -> list[Trouble]:
    """What is wrong with the settings, for the checks at the start."""
    found = []
    to: list[str] = []
    try:
        to = recipients()
    except KeyMissing as error:
        found.append(Trouble(str(error), MAKE))
    try:
        keys = identities()
    except KeyMissing as error:
        return [*found, Trouble(str(error), f"Mend the file, or unset ARC_BACKUP_IDENTITY_FILE. {MAKE}")]
    if keys and (mode := _mode(Path(settings.ARC_BACKUP_IDENTITY_FILE))) & 0o077:
        found.append(
            Trouble(
                f"The file of ARC_BACKUP_IDENTITY_FILE can be read by others (mode {mode:o}): whoever reads "
                "it opens every copy.",
                f"chmod 600 {settings.ARC_BACKUP_IDENTITY_FILE}",
                fatal=False,
            )
        )
    if keys and to and not fits(keys, to):
        found.append(
            Trouble(
                "No identity in ARC_BACKUP_IDENTITY_FILE belongs to a recipient in ARC_BACKUP_RECIPIENTS: "
                "copies that are taken now can be neither verified nor restored here.",
                "Add the identity of one of the recipients to the file, or its recipient to the list.",
            )
        )
    if to and not keys:
        found.append(
            Trouble(
                "Copies are encrypted, and ARC_BACKUP_IDENTITY_FILE names no identity: none of them can be "
                "verified here, so that none ever counts as proven and retention deletes nothing.",
                "Set ARC_BACKUP_IDENTITY_FILE to a file that only this account reads.",
                fatal=False,
            )
        )
    return found


def _public(identity: str, what: str) -> str:
    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError:
        raise KeyMissing(f"{what} is none of age: one begins with AGE-SECRET-KEY-1. {MAKE}") from None


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
