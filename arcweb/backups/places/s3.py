"""S3-compatible storage, by boto3 (the extra "s3"). No Django.

An object is looked at after it was written: its size and SHA-256 checksum as the store computed it, or, from
a store that keeps none, every byte read back. Words never hold a credential.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.places.base import PlaceError, Progress, Unreachable, Writable, nothing
from arcweb.backups.places.s3_words import GONE, code_of, in_words
from arcweb.backups.streams import BLOCK

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)
#: One part is in memory at a time. S3 takes parts of 5 MB and more, and 10,000 of them:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART, MOST_PARTS = 8 * 1024**2, 9_000
#: Seconds, and how often one request is tried in all; how often a download goes on after it was cut.
CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 60, 4
NO_ADDRESS = "ARC_BACKUP_S3_ENDPOINT is no address. A good value is https://s3.example.org."


@dataclass(frozen=True)
class Access:
    """Where the store is and how it is entered; both credentials empty: as boto3 finds them by itself."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""  #: empty: Amazon's own
    region: str = "us-east-1"
    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


class S3Store:
    def __init__(self, access: Access, *, part: int = PART) -> None:
        """Connects to nothing yet. Raises PlaceError when boto3, half a key or an address is missing."""
        if bool(access.key_id) != bool(access.secret):
            missing = "ARC_BACKUP_S3_SECRET" if access.key_id else "ARC_BACKUP_S3_KEY_ID"
            raise PlaceError(f"The store needs a key's id and its secret, and {missing} is not set.")
        self._access, self._part = access, part
        try:
            host = urlsplit(access.endpoint).hostname or "Amazon S3"
        except ValueError:
            raise PlaceError(NO_ADDRESS) from None
        self.label = f"the bucket {access.bucket} at {host}"
        try:
            boto3, config = importlib.import_module("boto3"), importlib.import_module("botocore.config")
        except ImportError as error:
            raise PlaceError(
                "ARC_BACKUP_S3_BUCKET is set, and the library boto3 is not installed. Install it: "
                ".venv/bin/python -m pip install --require-hashes "
                "-r requirements.lock -r requirements-s3.lock"
            ) from error
        try:
            self._client: S3Client = boto3.client(
                "s3",
                endpoint_url=access.endpoint or None,
                region_name=access.region,
                aws_access_key_id=access.key_id or None,
                aws_secret_access_key=access.secret or None,
                config=config.Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": TRIES},
                    # Other stores than Amazon's do not know the newer ones, and we send our own.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path" if access.endpoint else "auto"},
                ),
            )
        except ValueError as error:
            raise PlaceError(NO_ADDRESS) from error

    def names(self) -> Iterator[tuple[str, int]]:
        start = self._key("")
        with self._told("list its objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._access.bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    if name := one["Key"].removeprefix(start):
                        yield name, one["Size"]

    def size(self, name: str) -> int | None:
        head = self._head(name)
        return None if head is None else int(head["ContentLength"])

    def read(self, name: str, most: int) -> bytes:
        with self._told(f"give {name}"):
            answer = self._client.get_object(
                Bucket=self._access.bucket, Key=self._key(name), Range=f"bytes=0-{most - 1}"
            )
            with closing(answer["Body"]) as body:
                found = body.read()
        return found

    def put(self, file: Path, name: str, *, sha256: str, progress: Progress = nothing) -> str:
        """As Place.put. Raises CorruptCopy when the file has not that sha256: then nothing is kept."""
        size = file.stat().st_size
        part = max(self._part, -(-size // MOST_PARTS))
        with suppress(PlaceError):  # not every store lists them; the upload says itself what is wrong
            self.abort_unfinished(name)
        with file.open("rb") as source, self._told(f"take {name}"):
            if size <= part:
                checksum = self._put_small(source.read(), name, sha256)
                progress(size)
            else:
                checksum = self._put_parts(source, name, sha256, part, progress)
        return self._check(name, size, checksum, sha256)

    def get(self, name: str, out: Writable, progress: Progress = nothing) -> None:
        """As Place.get. A download that is cut goes on where it was, if the object is still the same."""
        done, tag, tries = 0, "", TRIES
        while True:
            before = done
            try:
                with self._told(f"give {name}"):
                    answer = self._from(name, done, tag)
                    tag = answer["ETag"]
                    with closing(answer["Body"]) as body:  # as a context it gives what ends without a word
                        while block := body.read(BLOCK):
                            out.write(block)
                            done += len(block)
                            progress(done)
            except Unreachable:
                tries = TRIES if done > before else tries - 1
                if tries <= 0:
                    raise
            else:
                return

    def delete(self, name: str) -> None:
        with suppress(PlaceError):
            self.abort_unfinished(name)
        with self._told(f"delete {name}"):
            self._client.delete_object(Bucket=self._access.bucket, Key=self._key(name))

    def abort_unfinished(self, name: str) -> int:
        """End uploads of that name that were never completed, which are paid for; returns how many."""
        ended = 0
        with self._told("list unfinished uploads"):
            found = self._client.list_multipart_uploads(
                Bucket=self._access.bucket, Prefix=self._key(name)
            ).get("Uploads", [])
            for one in found:
                if one["Key"] == self._key(name):
                    self._abort(name, one["UploadId"])
                    ended += 1
        return ended

    def _key(self, name: str) -> str:
        prefix = self._access.prefix.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def _from(self, name: str, start: int, tag: str) -> Any:
        """The object from there on; start: behind 0 only of the object with that tag."""
        more: dict[str, Any] = {"Range": f"bytes={start}-", "IfMatch": tag} if start else {}
        answer = self._client.get_object(Bucket=self._access.bucket, Key=self._key(name), **more)
        if start and answer["ETag"] != tag:  # a store that does not heed IfMatch
            raise PlaceError(f"{name} was replaced in {self.label} while it was fetched. Try again.")
        return answer

    def _put_small(self, data: bytes, name: str, sha256: str) -> str:
        digest = hashlib.sha256(data)
        _same(digest.hexdigest(), sha256, name)
        self._client.put_object(
            Bucket=self._access.bucket,
            Key=self._key(name),
            Body=data,
            ChecksumSHA256=_base64(digest.digest()),
        )
        return _base64(digest.digest())

    def _put_parts(self, source: BinaryIO, name: str, sha256: str, size: int, progress: Progress) -> str:
        """Returns the checksum of checksums that the store has to come to."""
        where: dict[str, Any] = {"Bucket": self._access.bucket, "Key": self._key(name)}
        upload = self._client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
        whole, digests, done = hashlib.sha256(), [], 0
        parts: list[Any] = []
        try:
            while data := source.read(size):
                whole.update(data)
                digests.append(hashlib.sha256(data).digest())
                number, checksum = len(digests), _base64(digests[-1])
                answer = self._client.upload_part(
                    **where, UploadId=upload, PartNumber=number, Body=data, ChecksumSHA256=checksum
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
                done += len(data)
                progress(done)
            _same(whole.hexdigest(), sha256, name)
            self._client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            try:
                self._abort(name, upload)
            except PlaceError as error:  # the next upload of that name, or its deletion, ends it
                logger.warning("An unfinished upload of %s is left in the store: %s", name, error)
            raise
        return f"{_base64(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"

    def _abort(self, name: str, upload: str) -> None:
        with self._told(f"end an upload of {name}"):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self._access.bucket, Key=self._key(name), UploadId=upload
                )
            except Exception as error:
                if code_of(error) not in GONE:
                    raise

    def _head(self, name: str) -> Any:
        with self._told(f"tell of {name}"):
            try:
                return self._client.head_object(
                    Bucket=self._access.bucket, Key=self._key(name), ChecksumMode="ENABLED"
                )
            except Exception as error:
                if code_of(error) not in GONE:
                    raise
        return None

    def _check(self, name: str, size: int, checksum: str, sha256: str) -> str:
        """What the store holds is what was sent: how that is known, in words. Else it is deleted again."""
        head = self._head(name)
        if head is None:
            raise Unreachable(f"{self.label} took {name} and does not have it. Try again.")
        stored = str(head.get("ChecksumSHA256", ""))
        right = head["ContentLength"] == size
        if right and stored:
            # Some say the checksum of checksums without the number of parts.
            right = stored.partition("-")[0] == checksum.partition("-")[0]
            how = "size and SHA-256 checksum of the store"
        elif right:
            digest = _Hash()
            self.get(name, digest)
            right, how = digest.hexdigest() == sha256, "read back from the store, its SHA-256 compared"
        if not right:
            self.delete(name)
            raise Unreachable(
                f"{self.label} holds other bytes under {name} than were sent; they were deleted. Try again; "
                "when it happens twice, look at the store."
            )
        return how

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """What boto3 raises in words of ours, without its own, which may tell more than they should."""
        try:
            yield
        except PlaceError:
            raise
        except Exception as error:
            if (told := in_words(error, f"{self.label[0].upper()}{self.label[1:]} cannot {doing}")) is None:
                raise
            raise told from None


class _Hash:
    """A file that keeps nothing but the hash of what is written."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _same(found: str, sha256: str, name: str) -> None:
    if found != sha256:
        raise CorruptCopy(
            f"{name} is not what its manifest says (sha256 {found[:12]}… instead of {sha256[:12]}…). "
            "It was changed on the disk. Verify it; a corrupt copy is sent nowhere."
        )
