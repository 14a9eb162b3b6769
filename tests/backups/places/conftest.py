"""S3-compatible storage of a test's own: moto's server, and a wire to it that can be cut."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from arcweb.backups.places.s3 import Access, S3Store

BUCKET = "copies"
KEY_ID, SECRET = "AKIDEXAMPLE0000", "a-secret-nobody-may-see"


class Wire:
    """Carries bytes between clients and the server; dies after so many bytes of what clients send."""

    def __init__(self, port: int) -> None:
        self.server = ("127.0.0.1", port)
        self.left: int | None = None  #: bytes that are carried before everything is cut; None: all
        self.back: int | None = None  #: the same of what the server answers
        self.once = False  #: whole again after the first cut
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.open = False
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the thread that waits there
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while self.open:
                client, _ = self._listening.accept()
                server = socket.create_connection(self.server)
                for source, target, name in ((client, server, "left"), (server, client, "back")):
                    threading.Thread(target=self._carry, args=(source, target, name), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with suppress(OSError):
            while block := source.recv(65536):
                left = getattr(self, name)
                if left is not None:
                    if left <= len(block):
                        target.sendall(block[:left])
                        self.cuts += 1
                        setattr(self, name, None if self.once else 0)
                        break
                    setattr(self, name, left - len(block))
                target.sendall(block)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    """The port of a store."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def raw(moto: int) -> Iterator[Any]:
    """boto3's own client of the store, with an empty bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{moto}",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def wire(moto: int) -> Iterator[Wire]:
    made = Wire(moto)
    yield made
    made.close()


@pytest.fixture
def access(raw: Any, wire: Wire) -> Access:
    """How the store is entered, over the wire."""
    return Access(BUCKET, "arc/web", f"http://127.0.0.1:{wire.port}", "us-east-1", KEY_ID, SECRET)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are not tried again: the waits between would make the tests slow."""
    monkeypatch.setattr("arcweb.backups.places.s3.TRIES", 1)


@pytest.fixture
def store(access: Access, quick: None) -> S3Store:
    """Parts of 5 MB, the least that S3 takes."""
    return S3Store(access, part=5 * 1024**2)


@pytest.fixture
def set_up(settings: Any, access: Access, quick: None, tmp_path: Path) -> None:
    """The project uses that store, and a folder of the test's own."""
    settings.ARC_BACKUP_DIR = tmp_path / "backups"
    settings.ARC_BACKUP_DIR.mkdir()
    settings.ARC_BACKUP_S3_BUCKET = access.bucket
    settings.ARC_BACKUP_S3_PREFIX = access.prefix
    settings.ARC_BACKUP_S3_ENDPOINT = access.endpoint
    settings.ARC_BACKUP_S3_REGION = access.region
    settings.ARC_BACKUP_S3_KEY_ID = access.key_id
    settings.ARC_BACKUP_S3_SECRET = access.secret


def keys(raw: Any) -> list[str]:
    return [one["Key"] for one in raw.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def unfinished(raw: Any) -> list[str]:
    return [one["Key"] for one in raw.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]
