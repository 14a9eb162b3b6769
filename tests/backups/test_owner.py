"""Whose a copy is: one of another installation can be proven and restored, and counts for nothing here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from arcweb.alarms import find_alarm
from arcweb.backups import alarms, catalogue, pruning, seals, taking, telling
from arcweb.backups.keeping import deletion
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup, Retention
from arcweb.backups.querysets import installation
from arcweb.backups.standing import standings
from tests.backups.copies import copy
from tests.backups.made import make_copy, make_files, on_disk
from tests.people import client_of

pytestmark = pytest.mark.django_db
OTHER = "f" * 32


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_BACKUP_S3_BUCKET = ""
    return tmp_path / "backups"


def become_another() -> None:
    """What is live is the database of another installation from now on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_migrations SET applied = applied - interval '1 s' "
            "WHERE (app, name) = ('contenttypes', '0001_initial')"
        )


def on_the_disk(folder: Path, **facts: str) -> Manifest:
    """A copy in the folder with our seal, which the catalogue does not know."""
    bare, _ = make_files()
    made = seals.sealed(replace(bare, **facts))  # type: ignore[arg-type]
    made.write(folder)
    return made


def test_an_installation_is_known_by_its_database_alone() -> None:
    first = installation()
    assert len(first) == 32
    assert int(first, 16)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone TO 'Asia/Kathmandu'")
    assert installation() == first
    become_another()
    assert len({first, installation()}) == 2


def test_neither_headline_nor_alarms_know_copies_of_others() -> None:
    mine = copy(age=timedelta(hours=60), raw_bytes=20_000_000)
    for hours in (5, 4, 3):
        copy(age=timedelta(hours=hours), owner=OTHER, raw_bytes=hours)
    copy("bad", owner=seals.ELSEWHERE)
    copy("failed", age=timedelta(hours=1), owner=OTHER)
    copy(age=timedelta(days=9), owner=OTHER, format="plain", bytes=10**15)
    ours = standings()[0]
    assert (ours.ago, ours.copies, ours.proven, ours.bad) == ("2 d 12 h ago", 1, 1, 0)
    assert ours.failures == 0
    assert telling.installed_at() == mine.created_at
    room = telling.fits()
    assert room is not None
    assert room.largest == mine
    assert ours.state == "bad"
    alarm = find_alarm("backups.age")
    assert alarm is not None
    assert alarm.beyond(alarms.postgres_age().value, alarm.threshold)
    assert (alarms.bad().value, alarms.strange_size()) == (0, None)
    assert telling.figures()["proven:postgres"] == 1
    assert "over 1 copies" in str(telling.drawings()[0])
    copy(age=timedelta(hours=2), owner=installation())
    assert standings()[0].ago == "2 h ago"


def test_retention_neither_counts_nor_deletes_copies_of_others() -> None:
    Retention.objects.create(last=1, daily=0, weekly=0, monthly=0, yearly=0)
    gone, ours = make_copy(days=9), make_copy(days=8, owner=installation())
    others = [make_copy(days=days, owner=OTHER) for days in (7, 2, 1)]
    others.append(make_copy("hashed", days=60, owner=seals.ELSEWHERE))
    found = pruning.preview()
    assert [line.backup for line in found.going] == [gone]
    said = {line.backup.pk: line.reasons for line in found.staying}
    assert said[ours.pk][0] == "the last proven copy"
    assert {said[one.pk] for one in others} == {
        ("from elsewhere: it counts for nothing here, and goes by hand alone",)
    }
    assert pruning.prune().deleted == [str(gone.pk)]
    assert {one.file for one in (ours, *others)} < on_disk()
    assert deletion.why_not(others[0]) == ""
    assert "the last proven copy" in deletion.why_not(ours)


def test_the_next_copy_expects_the_size_of_our_last_one() -> None:
    ours = make_copy(days=2)
    make_copy(owner=OTHER)
    last = taking._last(taking.Options())
    assert last is not None
    assert last.id == str(ours.pk)


def test_a_scan_tells_ours_from_others_by_seal_and_name(folder: Path) -> None:
    ours = on_the_disk(folder, installation=installation())
    old = on_the_disk(folder)
    other = on_the_disk(folder, installation=OTHER)
    bare, _ = make_files()
    liar, _ = make_files()
    replace(liar, installation=installation()).write(folder)  # our name is in every manifest of ours
    catalogue.scan()
    found = {str(one.pk): (one.owner, one.elsewhere) for one in Backup.objects.marked()}
    assert found == {
        ours.id: (installation(), False),
        old.id: ("", False),
        other.id: (OTHER, True),
        bare.id: (seals.ELSEWHERE, True),
        liar.id: (seals.ELSEWHERE, True),
    }
    assert {str(one.pk) for one in Backup.objects.ours()} == {ours.id, old.id}
    assert {str(one.pk) for one in Backup.objects.all() if one.elsewhere} == {other.id, bare.id, liar.id}


def test_what_was_of_others_is_ours_once_their_database_is_live(folder: Path) -> None:
    made = on_the_disk(folder, installation=installation())
    become_another()
    catalogue.scan()
    Backup.objects.update(state="verified", verified_at=timezone.now())
    assert standings()[0].proven == 0
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_migrations SET applied = applied + interval '1 s' "
            "WHERE (app, name) = ('contenttypes', '0001_initial')"
        )
    assert Backup.objects.ours().get().pk.hex == made.id.replace("-", "")
    assert standings()[0].proven == 1


def test_the_seal_of_an_older_manifest_still_fits() -> None:
    """As the version before wrote it: without a word of whose it is."""
    made = make_files()[0]
    said = made.to_json()
    assert "installation" not in said
    old = Manifest.from_json(json.loads(json.dumps(said | {"seal": seals.sealed(made).seal})))
    assert (seals.is_ours(old), seals.owner_of(old)) == (True, "")
    named = seals.sealed(replace(made, installation=OTHER))
    assert seals.owner_of(named) == OTHER
    assert seals.owner_of(replace(named, installation="")) == seals.ELSEWHERE


def test_a_key_that_is_put_back_makes_copies_ours_again(folder: Path, settings: Any) -> None:
    made, other = on_the_disk(folder, installation=installation()), on_the_disk(folder, installation=OTHER)
    bare, _ = make_files()
    key, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    catalogue.scan()
    assert set(Backup.objects.values_list("owner", flat=True)) == {seals.ELSEWHERE}
    settings.SECRET_KEY_FALLBACKS = [key]
    taken = make_copy(owner=installation())  # before manifests said whose they are
    sealed = seals.sealed(Manifest.from_json(taken.manifest))
    Backup.objects.filter(pk=taken.pk).update(manifest=sealed.to_json())
    catalogue.scan()
    owners = {str(pk): owner for pk, owner in Backup.objects.values_list("pk", "owner")}
    ours = dict.fromkeys((made.id, str(taken.pk)), installation())
    assert owners == ours | {other.id: OTHER, bare.id: seals.ELSEWHERE}


def test_the_migration_finds_the_strangers_among_what_was_found() -> None:
    taken, found, stranger = make_copy(), make_copy(trigger="found"), make_copy(trigger="found")
    sealed = seals.sealed(Manifest.from_json(found.manifest))
    Backup.objects.filter(pk=found.pk).update(manifest=sealed.to_json())
    named = make_copy(trigger="found")
    says = seals.sealed(replace(Manifest.from_json(named.manifest), installation=OTHER))
    Backup.objects.filter(pk=named.pk).update(manifest=says.to_json())
    broken, failed = copy("bad", trigger="found"), copy("failed")
    import_module("arcweb.backups.migrations.0004_owner").find_strangers(apps, None)
    owners = dict(Backup.objects.values_list("pk", "owner"))
    here = dict.fromkeys((taken.pk, failed.pk), installation())
    strangers = dict.fromkeys((stranger.pk, broken.pk), seals.ELSEWHERE)
    assert owners == here | strangers | {found.pk: "", named.pk: OTHER}
    become_another()
    assert {one.pk for one in Backup.objects.marked() if not one.elsewhere} == {found.pk}


def test_pages_and_the_command_say_where_a_copy_is_from() -> None:
    viewer = client_of("administrator")
    ours, other = make_copy(days=2), make_copy(owner=OTHER, trigger="found")
    for address in ("/backups/", "/backups/retention/", "/backups/upload/"):
        assert viewer.get(address).content.decode().count(">from elsewhere<") == 1, address
    page = viewer.get(f"/backups/{other.pk}/").content.decode()
    assert "It is of another installation" in page
    assert "Prove again" in page
    assert "Restore…" in page
    assert "another installation" not in viewer.get(f"/backups/{ours.pk}/").content.decode()
    assert [catalogue.as_json(one)["elsewhere"] for one in (ours, other)] == [False, True]
