"""Recipients and identities: what is wrong is said at the start, and a copy opens with its key alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.core.checks import run_checks

from arcweb.backups import encryption
from arcweb.backups.exceptions import CorruptCopy, KeyMissing
from arcweb.backups.streams import open_copy, write_copy

Configure = Callable[..., Path]


def key() -> tuple[str, str]:
    """An identity and its recipient."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


@pytest.fixture
def configure(settings: Any, tmp_path: Path) -> Configure:
    def do(recipients: list[str], file: str | None = None, *, mode: int = 0o600) -> Path:
        path = tmp_path / "identity"
        if file is not None:
            path.write_text(file)
            path.chmod(mode)
        settings.ARC_BACKUP_RECIPIENTS = recipients
        settings.ARC_BACKUP_IDENTITY_FILE = str(path) if file is not None else ""
        settings.ARC_BACKUP_S3_BUCKET = ""
        return path

    return do


def told() -> list[tuple[str | None, str]]:
    return [(one.id, one.msg) for one in run_checks(tags=["backups"])]


def test_a_pair_that_fits_is_read_with_its_comments_and_says_nothing(configure: Configure) -> None:
    secret, recipient = key()
    configure([recipient, key()[1]], f"# created: 2026\n# public key: {recipient}\n\n {secret} \n")
    assert encryption.identities() == [secret]
    assert len(encryption.recipients()) == 2
    assert told() == []


def test_nothing_configured_is_nothing_wrong(configure: Configure) -> None:
    configure([])
    assert (encryption.recipients(), encryption.identities(), told()) == ([], [], [])


def test_what_is_wrong_is_said_without_the_secret(configure: Configure, settings: Any) -> None:
    secret, recipient = key()
    said: dict[str, list[tuple[str | None, str]]] = {}
    configure([secret], secret)  # the wrong half
    said["is no recipient of age"] = told()
    configure([recipient], "AGE-SECRET-KEY-1" + "Q" * 58)
    said["Identity 1 in"] = told()
    configure([recipient], "# nothing\n")
    said["holds no identity"] = told()
    configure([key()[1]], secret)
    said["neither verified nor restored here"] = told()
    settings.ARC_BACKUP_IDENTITY_FILE += ".away"
    said["No such file"] = told()
    for words, found in said.items():
        assert [id_ for id_, _ in found] == ["backups.E001"], words
        assert words in found[0][1]
        assert secret not in str(found)
    configure([recipient], secret, mode=0o644)
    assert told()[0][0] == "backups.W001"
    assert "can be read by others (mode 644)" in told()[0][1]
    configure([recipient], secret, mode=0o640)
    assert "can be read by others (mode 640)" in told()[0][1]
    configure([recipient])
    assert told()[0][0] == "backups.W001"
    assert "none of them can be verified here" in told()[0][1]
    configure([recipient, "age1nonsense"])
    with pytest.raises(KeyMissing, match="Number 2 of ARC_BACKUP_RECIPIENTS"):
        encryption.recipients()


def test_a_copy_opens_with_its_key_alone(tmp_path: Path) -> None:
    (secret, recipient), (other, _) = key(), key()
    path, content = tmp_path / "copy", os.urandom(3 * 1024**2)
    write_copy(BytesIO(content), path, compression="zstd", recipients=[recipient], reserve=0)
    assert content[:1000] not in path.read_bytes()
    with open_copy(path, compression="zstd", encrypted=True, identities=[other, secret]) as opened:
        assert opened.read() == content
    for identities, words in (([other], "encrypted to other recipients"), ([], "names no identity")):
        with (
            pytest.raises(KeyMissing, match=words),  # the copy may be fine: it is not bad for that
            open_copy(path, compression="zstd", encrypted=True, identities=identities) as opened,
        ):
            opened.read()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with (
        pytest.raises(CorruptCopy),
        open_copy(path, compression="zstd", encrypted=True, identities=[secret]) as opened,
    ):
        opened.read()


MEASURE = """
import os, resource, sys
from pathlib import Path
from arcweb.backups.streams import open_copy, write_copy

class Noise:
    def __init__(self, size): self.left = size
    def read(self, size=-1):
        block = os.urandom(min(self.left, size if size > 0 else 1 << 20))
        self.left -= len(block)
        return block

path, size = Path(sys.argv[1]), int(sys.argv[2])
write_copy(Noise(size), path, compression="zstd", recipients=[sys.argv[3]], reserve=0)
with open_copy(path, compression="zstd", encrypted=True, identities=[sys.argv[4]]) as opened:
    while opened.read(1 << 20):
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_the_memory_of_encryption_does_not_grow_with_the_copy(tmp_path: Path) -> None:
    secret, recipient = key()
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEASURE, tmp_path / str(mb), str(mb * 1024**2), recipient, secret],
                capture_output=True,
                check=True,
            ).stdout
        )
        for mb in (4, 100)
    ]
    assert peaks[1] < peaks[0] + 40, f"{peaks} MB"


@pytest.mark.parametrize(
    ("changed", "id_", "words"),
    [
        ({"ARC_BACKUP_S3_KEY_ID": ""}, "backups.E002", "ARC_BACKUP_S3_KEY_ID is not set"),
        ({"ARC_BACKUP_S3_ENDPOINT": "http://s3.example.org"}, "backups.W002", "without TLS"),
        (
            {"ARC_BACKUP_S3_ENDPOINT": "http://s3.example.org", "ARC_BACKUP_RECIPIENTS": [key()[1]]},
            *("backups.W001", "Copies are encrypted"),
        ),
        ({"ARC_BACKUP_S3_ENDPOINT": "s3.example.org"}, "backups.E002", "is no address"),
        ({"ARC_BACKUP_S3_ENDPOINT": "https://[s3"}, "backups.E002", "is no address"),
        ({}, "", ""),
    ],
)
def test_a_store_that_is_half_set_up_is_told(
    configure: Configure, settings: Any, changed: dict[str, Any], id_: str, words: str
) -> None:
    configure([])
    settings.ARC_BACKUP_S3_BUCKET, settings.ARC_BACKUP_S3_KEY_ID = "copies", "id"
    settings.ARC_BACKUP_S3_SECRET, settings.ARC_BACKUP_S3_ENDPOINT = "s" * 20, "https://s3.example.org"
    for name, value in changed.items():
        setattr(settings, name, value)
    found = told()
    assert [one for one, _ in found] == ([id_] if id_ else [])
    assert words in str(found)


def test_that_every_copy_is_here_is_said_before_deployment_alone(configure: Configure, settings: Any) -> None:
    configure([])
    (found,) = run_checks(tags=["backups"], include_deployment_checks=True)
    assert found.id == "backups.I001"
    assert str(settings.ARC_BACKUP_DIR) in found.msg
