"""What goes wrong with backups. Every message is a sentence for people: what is wrong, and how to mend it."""

from __future__ import annotations


class BackupError(Exception):
    """The work was not done; nothing stands under a final name because of it."""


class ToolError(BackupError):
    """A program (pg_dump, pg_restore …) is missing, of the wrong version, or ended badly."""


class SpaceError(BackupError):
    """There is not enough room, or there would not be."""


class CorruptCopy(BackupError):  # noqa: N818 - reads as a sentence
    """The copy itself is at fault: it counts no longer."""


class LockedOut(BackupError):  # noqa: N818 - reads as a sentence
    """Another backup or restore is under way."""


class KeyMissing(BackupError):  # noqa: N818 - reads as a sentence
    """An encrypted copy cannot be opened here for want of an identity that fits; the copy may be fine."""
