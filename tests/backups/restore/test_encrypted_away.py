"""The whole way of a copy that stands encrypted in S3-compatible storage alone, on a server built anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from agents.models import Agent
from arcweb.backups import catalogue, taking
from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import KeyMissing
from arcweb.backups.models import Backup
from arcweb.backups.places import uploading
from arcweb.backups.proving.proof import prove
from arcweb.backups.querysets import installation
from arcweb.backups.restore.journal import BROKEN, FINISHED
from arcweb.backups.restore.running import folder
from arcweb.backups.standing import standings
from tests.backups.places.conftest import access, keys, moto, quick, raw, set_up, wire  # noqa: F401
from tests.backups.restore.conftest import World
from tests.backups.test_owner import become_another

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("set_up")]
MISSING = "ARC_BACKUP_IDENTITY_FILE names no identity"


@pytest.fixture
def identity(settings: Any, tmp_path: Path) -> Path:
    """The file of the key; copies are encrypted to it, and nothing here opens them yet."""
    made = pyrage.x25519.Identity.generate()
    path = tmp_path / "identity"
    path.write_text(f"{made}\n")
    path.chmod(0o600)
    settings.ARC_BACKUP_RECIPIENTS = [str(made.to_public())]
    settings.ARC_BACKUP_IDENTITY_FILE = ""
    return path


def only_in_store(store: Any) -> Backup:
    """A copy of the whole database whose files are gone from this machine."""
    backup = taking.take(taking.Options())
    uploading.upload(backup.pk)
    for name in (backup.file, manifests.manifest_name(backup.file)):
        (catalogue.folder() / name).unlink()
        assert f"arc/web/{name}" in keys(store)
    catalogue.scan()
    backup.refresh_from_db()
    assert (backup.encrypted, backup.local, backup.remote) == (True, False, True)
    return backup


def test_without_the_key_nothing_is_tried_and_with_it_the_copy_is_proven_restored_and_ours(
    world: World, identity: Path, settings: Any, request: pytest.FixtureRequest
) -> None:
    backup = only_in_store(request.getfixturevalue("raw"))
    Agent.objects.filter(name="Agent 0").delete()
    become_another()  # the server was lost; this is a new one, which knows the store and its SECRET_KEY
    first, live, own = world.oid(), world.databases(), installation()
    here = replace(world, copies={"custom": str(backup.pk)})

    outcome = prove(backup.pk)
    assert outcome.verdict == "not tried"
    assert MISSING in outcome.trouble
    assert Backup.objects.get(pk=backup.pk).state == "hashed", "it may be fine: it is not bad for that"
    with pytest.raises(KeyMissing, match=MISSING):
        here.prepare()
    (journal,) = folder().all()
    assert (journal.state, world.oid(), world.databases()) == (BROKEN, first, live)
    assert MISSING in journal.trouble

    settings.ARC_BACKUP_IDENTITY_FILE = str(identity)
    assert prove(backup.pk).verdict == "proven"
    assert standings()[0].proven == 0, "it is of another installation than what is live"
    assert here.restore().state == FINISHED
    assert world.oid() != first
    assert Agent.objects.filter(name="Agent 0").exists()
    assert installation() != own
    assert standings()[0].proven_at == backup.taken_at, "its installation is live again"
    spool = catalogue.folder() / "spool"
    assert {path.name for path in spool.iterdir()} == {backup.file}, "nothing in the clear is left"
