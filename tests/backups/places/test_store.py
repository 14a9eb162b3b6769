"""The store itself, against a server: what is put is there and checked, what is cut is not, nothing leaks."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.places import s3_words
from arcweb.backups.places.base import PlaceError, Unreachable, manifests
from arcweb.backups.places.s3 import Access, S3Store
from tests.backups.places.conftest import BUCKET, KEY_ID, SECRET, Wire, keys, unfinished

MB = 1024**2
NAME = "postgres-20261123T100000Z-0a1b2c3d.dump.zst"


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, str]:
    """12 MB: three parts."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(12 * MB + 17))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "small"
    path.write_bytes(b"a manifest, say")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_goes_in_parts_and_comes_back_the_same(
    store: S3Store, raw: Any, large: tuple[Path, str]
) -> None:
    path, sha256 = large
    told: list[int] = []
    how = store.put(path, NAME, sha256=sha256, progress=told.append)
    assert how == "size and SHA-256 checksum of the store"
    assert told == [5 * MB, 10 * MB, 12 * MB + 17]
    assert keys(raw) == [f"arc/web/{NAME}"]
    assert unfinished(raw) == []
    assert store.size(NAME) == 12 * MB + 17
    assert list(store.names()) == [(NAME, 12 * MB + 17)]
    back = io.BytesIO()
    store.get(NAME, back)
    assert hashlib.sha256(back.getvalue()).hexdigest() == sha256
    assert store.read(NAME, 10) == path.read_bytes()[:10]
    store.delete(NAME)
    store.delete(NAME)  # as it may have been before
    assert store.size(NAME) is None
    assert keys(raw) == []


def test_a_store_without_checksums_is_read_back(store: S3Store, small: tuple[Path, str]) -> None:
    # moto keeps the checksum of no object that was put in one piece.
    assert store.put(small[0], NAME, sha256=small[1]).startswith("read back")


def test_what_the_store_holds_is_compared_and_deleted_when_it_differs(
    store: S3Store,
    raw: Any,
    large: tuple[Path, str],
    small: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path, sha256 in (large, small):
        put, complete = raw.put_object, store._client.complete_multipart_upload

        def swapped(put: Any = put, **asked: Any) -> Any:
            return put(Bucket=asked["Bucket"], Key=asked["Key"], Body=b"x" * (path.stat().st_size))  # noqa: B023

        def completed(**asked: Any) -> Any:
            complete(**asked)  # noqa: B023
            return swapped(**asked)

        monkeypatch.setattr(store._client, "put_object", swapped)
        monkeypatch.setattr(store._client, "complete_multipart_upload", completed)
        with pytest.raises(PlaceError, match="holds other bytes"):
            store.put(path, NAME, sha256=sha256)
        monkeypatch.undo()
        assert keys(raw) == []


def test_parts_that_were_changed_on_their_way_are_found_by_the_checksum_of_the_store(
    store: S3Store, raw: Any, large: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store._client.upload_part

    def changed(**asked: Any) -> Any:
        data = bytes(reversed(asked["Body"]))
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return upload(**asked | {"Body": data, "ChecksumSHA256": digest})

    monkeypatch.setattr(store._client, "upload_part", changed)
    with pytest.raises(PlaceError, match="holds other bytes"):
        store.put(large[0], NAME, sha256=large[1])
    assert keys(raw) == []


def test_a_file_that_is_not_what_its_manifest_says_is_sent_nowhere(
    store: S3Store, raw: Any, large: tuple[Path, str], small: tuple[Path, str]
) -> None:
    for path, _ in (large, small):
        with pytest.raises(CorruptCopy, match="changed on the disk"):
            store.put(path, NAME, sha256="0" * 64)
    assert keys(raw) == []
    assert unfinished(raw) == []


def test_an_upload_that_is_cut_leaves_nothing_whole(
    store: S3Store, raw: Any, wire: Wire, large: tuple[Path, str]
) -> None:
    wire.left = 7 * MB  # in the second part
    with pytest.raises(Unreachable, match="did not answer, or not to the end"):
        store.put(large[0], NAME, sha256=large[1])
    assert wire.cuts
    assert keys(raw) == []
    assert unfinished(raw) == [f"arc/web/{NAME}"]  # nobody could tell the store
    wire.left = None
    store.put(large[0], NAME, sha256=large[1])
    assert keys(raw) == [f"arc/web/{NAME}"]
    assert unfinished(raw) == []  # the next one did


def test_unfinished_uploads_of_longer_names_are_somebody_elses(store: S3Store, raw: Any) -> None:
    for ending in ("", ".another"):
        raw.create_multipart_upload(Bucket=BUCKET, Key=f"arc/web/{NAME}{ending}")
    assert store.abort_unfinished(NAME) == 1
    assert unfinished(raw) == [f"arc/web/{NAME}.another"]


def test_an_upload_that_is_stopped_leaves_nothing_at_all(
    store: S3Store, raw: Any, large: tuple[Path, str]
) -> None:
    class StopError(Exception): ...

    def stop(done: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        store.put(large[0], NAME, sha256=large[1], progress=stop)
    assert keys(raw) == []
    assert unfinished(raw) == []


@pytest.mark.usefixtures("quick")  # what came since the last cut is a new beginning
def test_a_download_that_is_cut_goes_on_where_it_was(
    access: Access, wire: Wire, raw: Any, large: tuple[Path, str]
) -> None:
    path, sha256 = large
    store = S3Store(access)
    store.put(path, NAME, sha256=sha256)
    wire.back, wire.once = 4 * MB, True
    back, told = io.BytesIO(), []
    store.get(NAME, back, told.append)
    assert wire.cuts == 1
    assert hashlib.sha256(back.getvalue()).hexdigest() == sha256
    assert told == sorted(set(told))  # no byte twice


@pytest.mark.parametrize(("heeds", "words"), [(True, "PreconditionFailed"), (False, "was replaced")])
def test_a_download_does_not_go_on_in_another_object(
    access: Access,
    wire: Wire,
    raw: Any,
    large: tuple[Path, str],
    heeds: bool,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = S3Store(access)
    get = store._client.get_object
    if not heeds:  # as some stores pass over the condition
        monkeypatch.setattr(
            store._client,
            "get_object",
            lambda IfMatch="", **asked: get(**asked),  # noqa: N803
        )
    store.put(large[0], NAME, sha256=large[1])

    class Swapping(io.BytesIO):
        def write(self, data: Any, /) -> int:
            if not self.tell():
                raw.put_object(Bucket=BUCKET, Key=f"arc/web/{NAME}", Body=b"y" * (12 * MB + 17))
            return super().write(data)

    wire.back, wire.once = 3 * MB, True
    with pytest.raises(PlaceError, match=words):
        store.get(NAME, Swapping())


@pytest.mark.usefixtures("quick")
def test_faults_are_told_in_words_that_hold_no_secret(
    access: Access, wire: Wire, large: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = []
    for wrong, words in (
        (replace(access, bucket="no-such-bucket"), "it has no such bucket"),
        (replace(access, endpoint="http://127.0.0.1:9"), "did not answer"),
        (replace(access, endpoint=f"http://user:{SECRET}@127.0.0.1:9"), "did not answer"),
        (replace(access, bucket="Not A Bucket!"), "ARC_BACKUP_S3_BUCKET"),
    ):
        with pytest.raises(PlaceError, match=words) as error:
            S3Store(wrong).put(large[0], NAME, sha256=large[1])
        told.append(f"{error.value} {error.getrepr(chain=True)}")
    with pytest.raises(PlaceError, match="ARC_BACKUP_S3_ENDPOINT is no address"):
        S3Store(replace(access, endpoint="nonsense"))
    told += [repr(access), caplog.text]
    assert not [words for words in told if SECRET in words or KEY_ID in words]


def test_an_error_that_nobody_knows_is_told_by_its_code_alone() -> None:
    told = s3_words.in_words(
        ClientError({"Error": {"Code": "Odd", "Message": f"{KEY_ID} with {SECRET}"}}, "PutObject"), "It"
    )
    assert str(told) == "It: it says Odd."


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"), Unreachable, "did not answer"),
        (ClientError({"Error": {"Code": "503"}}, "HeadObject"), Unreachable, "did not answer"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"), PlaceError, "refuses what the key"),
        (ClientError({"Error": {"Code": "404"}}, "HeadObject"), PlaceError, "no object or bucket"),
        (NoCredentialsError(), PlaceError, "set ARC_BACKUP_S3_KEY_ID"),
    ],
)
def test_what_is_tried_again_and_what_needs_a_person(
    error: Exception, kind: type[PlaceError], words: str
) -> None:
    told = s3_words.in_words(error, "It")
    assert type(told) is kind
    assert words in str(told)
    assert s3_words.in_words(ValueError("of our own"), "It") is None


def test_without_boto3_a_sentence_says_what_to_type(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(PlaceError, match=r"pip install --require-hashes .* -r requirements-s3\.lock"):
        S3Store(access)


def test_manifests_are_listed_with_whether_their_data_is_there(
    store: S3Store, raw: Any, small: tuple[Path, str]
) -> None:
    raw.put_object(Bucket=BUCKET, Key="arc/web/below/postgres-3.manifest.json", Body=b"of somebody else")
    for name in ("postgres-1.dump.zst", "postgres-1.manifest.json", "postgres-2.manifest.json"):
        store.put(small[0], name, sha256=small[1])
    assert list(manifests(store)) == [("postgres-1.manifest.json", True), ("postgres-2.manifest.json", False)]
