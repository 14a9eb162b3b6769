"""Which manifests this installation wrote: sealed with its SECRET_KEY; and whose copies they describe.

A copy whose manifest bears the seal has the sha256 that this program wrote down, wherever the file was in the
meantime and whatever became of the database: it is restored as our own. Every other file counts as hostile.
"""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from arcweb.backups.manifest import Manifest

SALT = "arcweb.backups.seals"
#: Owner of a copy whose manifest bears no seal of ours: whatever it says of itself is not believed.
ELSEWHERE = "elsewhere"


def sealed(manifest: Manifest) -> Manifest:
    """The same manifest with the seal of this installation."""
    return replace(manifest, seal=_seal(manifest, settings.SECRET_KEY))


def is_ours(manifest: Manifest) -> bool:
    """Whether it bears our seal and nothing in it was changed since."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(manifest.seal, _seal(manifest, key)) for key in keys)


def owner_of(manifest: Manifest) -> str:
    """Whose copy it is, for `Backup.owner`: the id of an installation, "" for a copy of ours that is older
    than such ids, ELSEWHERE for one that bears no seal of ours."""
    return manifest.installation if is_ours(manifest) else ELSEWHERE


def _seal(manifest: Manifest, key: str | bytes) -> str:
    return salted_hmac(SALT, replace(manifest, seal="").to_bytes(), key, algorithm="sha256").hexdigest()
