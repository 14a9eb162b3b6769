"""A copy leaves over a link that serves once, whole or in parts, and as it is on the disk."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import OperationalError, close_old_connections
from django.test import Client
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups.models import Backup, DownloadLink
from arcweb.backups.transfer import links, ranges, sending, slots
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.backups.made import make_copy
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


@pytest.fixture
def backup(folder: Path) -> Backup:
    return make_copy(size=700_000)


def link_of(client: Client, backup: Backup) -> str:
    answer = client.post(f"/backups/{backup.pk}/download/")
    assert answer.status_code == 200
    # Not -O -J: curl refuses them beside -C.
    assert f"curl -C - -o {backup.file} -b " in answer.content.decode()
    return str(answer.context["link"])


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def cut(answer: Any) -> None:
    """The line is cut: the server closes the response. The test's own connection stays open."""
    answer._iterator.close()  # one that was begun closes the response itself
    if answer.closed:
        return
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)


def test_a_copy_comes_whole_with_what_tells_that_it_is(admin: Client, backup: Backup, folder: Path) -> None:
    link = link_of(admin, backup)
    answer = admin.get(link, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{backup.file}"'
    assert answer.headers["Content-Length"] == str(backup.bytes)
    assert answer.headers["Content-Encoding"] == "identity"  # nothing compressed it on its way
    assert answer.headers["ETag"] == f'"{backup.sha256}"'
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    data = body(answer)
    assert data == (folder / backup.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == backup.sha256


def test_a_link_serves_once(admin: Client, backup: Backup) -> None:
    link = link_of(admin, backup)
    body(admin.get(link))
    again = admin.get(link)
    assert again.status_code == 410
    assert "was sent to its end over this link" in again.content.decode()
    assert DownloadLink.objects.get().used_at is not None


def test_who_asked_and_who_downloaded_is_on_record_before_the_first_byte(
    admin: Client, backup: Backup
) -> None:
    link = link_of(admin, backup)
    assert Event.objects.get(kind="backup.link_made").object_id == str(backup.pk)
    admin.head(link)
    assert not Event.objects.filter(kind="backup.downloaded").exists()
    answer = admin.get(link)  # not a byte is read yet
    assert Event.objects.get(kind="backup.downloaded").data["bytes"] == backup.bytes
    cut(answer)
    body(admin.get(link, headers={"Range": "bytes=10-"}))
    assert Event.objects.filter(kind="backup.downloaded").count() == 1


def test_only_the_hash_of_a_token_is_kept(admin: Client, backup: Backup) -> None:
    token = link_of(admin, backup).split("/")[-2]
    row = DownloadLink.objects.values().get()
    assert token not in str(row)
    assert row["token_sha256"] == hashlib.sha256(token.encode()).hexdigest()


def test_a_cut_download_goes_on_where_it_was(admin: Client, backup: Backup, folder: Path) -> None:
    link = link_of(admin, backup)
    answer = admin.get(link)
    first = next(iter(answer.streaming_content))
    cut(answer)
    rest = admin.get(link, headers={"Range": f"bytes={len(first)}-", "If-Range": f'"{backup.sha256}"'})
    assert rest.status_code == 206
    assert rest.headers["Content-Range"] == f"bytes {len(first)}-{backup.bytes - 1}/{backup.bytes}"  # type: ignore[operator]
    assert first + body(rest) == (folder / backup.file).read_bytes()
    assert admin.get(link).status_code == 410  # the last byte was sent


def test_a_part_in_the_middle_does_not_end_the_link(admin: Client, backup: Backup, folder: Path) -> None:
    link = link_of(admin, backup)
    part = admin.get(link, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.headers["Content-Length"]) == (206, "100")
    assert body(part) == (folder / backup.file).read_bytes()[100:200]
    assert DownloadLink.objects.get().used_at is None
    beyond = admin.get(link, headers={"Range": f"bytes={backup.bytes}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{backup.bytes}")
    other = admin.get(link, headers={"Range": "bytes=5-", "If-Range": '"of another file"'})
    assert other.status_code == 200
    assert len(body(other)) == backup.bytes


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", (0, 1000)),
        ("bytes=10-19", (10, 20)),
        ("bytes=990-2000", (990, 1000)),
        ("bytes=-10", (990, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("BYTES = 5 - 6", (5, 7)),
        ("", None),
        ("bytes=-", None),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=" + "9" * 200 + "-", None),
    ],
)
def test_parts_are_read_as_the_rfc_says(header: str, part: tuple[int, int] | None) -> None:
    assert ranges.part(header, 1000) == part


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_parts_behind_the_end_are_none(header: str) -> None:
    with pytest.raises(ranges.Unsatisfiable):
        ranges.part(header, 1000)


def test_a_link_is_of_one_login_alone(admin: Client, ada: User, backup: Backup) -> None:
    link = link_of(admin, backup)
    for client in (client_of("administrator"), client_of(ada)):  # another person, another login of hers
        answer = client.get(link)
        assert answer.status_code == 410
        assert "no such link for this login" in answer.content.decode()
    assert client_of("operator").get(link).status_code == 403
    assert Client().get(link).status_code == 302
    admin.logout()
    assert admin.get(link).status_code == 302
    assert not Event.objects.filter(kind="backup.downloaded").exists()


def test_a_login_without_a_session_has_no_link(admin: Client, ada: User, backup: Backup) -> None:
    token = links.make(backup, user_id=ada.pk, actor_name="ada", session_hash="")
    with pytest.raises(links.LinkOver, match="no such link"):
        links.find(token, user_id=ada.pk, session_hash="")


def test_a_login_of_somebody_else_has_no_link_whatever_its_session(ada: User, backup: Backup) -> None:
    token = links.make(backup, user_id=ada.pk, actor_name="ada", session_hash="a" * 64)
    assert links.find(token, user_id=ada.pk, session_hash="a" * 64).backup == backup
    with pytest.raises(links.LinkOver, match="no such link"):
        links.find(token, user_id=ada.pk + 1, session_hash="a" * 64)


def test_a_link_that_ends_while_its_download_begins_gives_nothing(
    admin: Client, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, take = link_of(admin, backup), slots.take

    def meanwhile() -> bool:
        DownloadLink.objects.update(used_at=timezone.now())
        return take()

    monkeypatch.setattr(slots, "take", meanwhile)
    answer = admin.get(link)
    assert answer.status_code == 410
    assert "ended in this moment" in answer.content.decode()
    assert slots._taken == 0
    assert not Event.objects.filter(kind="backup.downloaded").exists()


def test_a_file_that_is_cut_while_it_is_sent_does_not_end_the_link(
    admin: Client, backup: Backup, folder: Path
) -> None:
    answer = admin.get(link_of(admin, backup))
    os.truncate(folder / backup.file, 300_000)
    assert len(body(answer)) == 300_000
    assert DownloadLink.objects.get().used_at is None


def test_a_database_that_goes_away_ends_no_download(
    admin: Client, backup: Backup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(link: DownloadLink) -> None:
        raise OperationalError("the connection is lost")

    answer = admin.get(link_of(admin, backup))
    monkeypatch.setattr(sending, "LOOK", 0.0)
    monkeypatch.setattr(links, "prolong", away)
    monkeypatch.setattr(links, "finish", away)
    assert body(answer) == (folder / backup.file).read_bytes()


def test_a_copy_that_is_being_deleted_is_not_sent(admin: Client, backup: Backup, folder: Path) -> None:
    link = link_of(admin, backup)
    Backup.objects.update(state="deleted", delete_trouble="It was begun.")
    answer = admin.get(link)
    assert answer.status_code == 410
    assert "deleted meanwhile" in answer.content.decode()
    assert (folder / backup.file).exists()


def test_a_link_ends_by_itself_and_lives_on_while_bytes_flow(
    admin: Client, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = link_of(admin, backup)
    DownloadLink.objects.update(expires_at=timezone.now() + timedelta(seconds=20))
    answer = admin.get(link)
    assert DownloadLink.objects.get().expires_at > timezone.now() + timedelta(minutes=14)
    monkeypatch.setattr(sending, "LOOK", 0.0)
    DownloadLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    stream = iter(answer.streaming_content)
    next(stream)
    next(stream)  # slower than the link would have lived
    assert DownloadLink.objects.get().expires_at > timezone.now() + timedelta(minutes=14)
    DownloadLink.objects.update(used_at=timezone.now())  # ended by somebody
    assert list(stream) == []
    made = link_of(admin, backup)
    DownloadLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert admin.get(made).status_code == 410
    DownloadLink.objects.update(created_at=timezone.now() - timedelta(days=2), used_at=None)
    assert links.prolong(DownloadLink.objects.order_by("-pk")[0])
    assert DownloadLink.objects.order_by("-pk")[0].expires_at < timezone.now()  # a day is the most


def test_old_links_are_forgotten(admin: Client, backup: Backup) -> None:
    link_of(admin, backup)
    DownloadLink.objects.update(expires_at=timezone.now() - timedelta(days=29))
    link_of(admin, backup)
    assert DownloadLink.objects.count() == 2
    DownloadLink.objects.update(expires_at=timezone.now() - timedelta(days=31))
    link_of(admin, backup)
    assert DownloadLink.objects.count() == 1


def test_downloads_leave_threads_for_the_pages(admin: Client, backup: Backup, settings: Any) -> None:
    settings.ARC_WEB_THREADS = 8
    one, two, three = (link_of(admin, backup) for _ in range(3))
    first, second = admin.get(one), admin.get(two)
    third = admin.get(three)
    assert (third.status_code, third.headers["Retry-After"]) == (503, "30")
    cut(first)
    cut(first)
    again = admin.get(three)
    assert again.status_code == 200
    assert slots._taken == 2
    cut(second)
    cut(again)
    assert slots.take()
    assert slots.take()
    sent = sending.Sending(Path(os.devnull), 0, 0, 0, DownloadLink.objects.all()[0])
    sent.close()
    sent.close()  # gives back one, not that of somebody else
    assert slots._taken == 1
    slots.give_back()


def test_a_file_that_is_gone_or_cut_is_not_sent(admin: Client, backup: Backup, folder: Path) -> None:
    link = link_of(admin, backup)
    (folder / backup.file).write_bytes(b"cut")
    answer = admin.get(link)
    assert answer.status_code == 410
    assert "not on this machine any longer" in answer.content.decode()
    page = admin.get(f"/backups/{backup.pk}/download/").content.decode()
    assert "Make a link" not in page
    assert admin.post(f"/backups/{backup.pk}/download/").status_code == 409


def test_a_copy_that_is_only_in_the_store_is_fetched_first(
    admin: Client, backup: Backup, folder: Path
) -> None:
    (folder / backup.file).unlink()
    Backup.objects.update(local=False, remote=True)
    assert "Fetch it from the store" in admin.get(f"/backups/{backup.pk}/download/").content.decode()
    answer = admin.post(f"/backups/{backup.pk}/download/")
    job = Job.objects.get(kind="backup-fetch")
    assert answer.headers["Location"] == f"/jobs/job/{job.pk}/change/"
    assert not DownloadLink.objects.exists()


def test_the_manifest_comes_as_it_is(admin: Client, backup: Backup, folder: Path) -> None:
    beside = folder / manifests.manifest_name(backup.file)
    beside.write_bytes(beside.read_bytes() + b"\n")
    answer = admin.get(f"/backups/{backup.pk}/manifest/", headers={"Accept-Encoding": "gzip"})
    assert answer.content == beside.read_bytes()
    assert json.loads(answer.content)["id"] == str(backup.pk)
    assert client_of("operator").get(f"/backups/{backup.pk}/manifest/").status_code == 403


def test_an_encrypted_copy_leaves_encrypted(admin: Client, folder: Path) -> None:
    import pyrage

    backup = make_copy(recipients=(str(pyrage.x25519.Identity.generate().to_public()),))
    assert "encrypted with age" in admin.get(f"/backups/{backup.pk}/download/").content.decode()
    assert body(admin.get(link_of(admin, backup))).startswith(b"age-encryption.org/v1")


def test_no_more_than_a_block_of_a_file_is_in_memory(admin: Client, folder: Path) -> None:
    backup = make_copy(size=3_000_000)
    answer = admin.get(link_of(admin, backup))
    assert max(len(block) for block in answer.streaming_content) <= sending.BLOCK


def test_a_folder_that_cannot_be_entered_is_told(admin: Client, backup: Backup, settings: Any) -> None:
    link = link_of(admin, backup)
    settings.ARC_BACKUP_DIR = Path("/dev/null/backups")
    assert admin.get(f"/backups/{backup.pk}/download/").status_code == 200
    answer = admin.post(f"/backups/{backup.pk}/download/")
    assert answer.status_code == 409
    assert "neither in the folder nor in the store" in answer.content.decode()
    assert admin.get(link).status_code == 410
