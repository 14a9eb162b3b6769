"""The table of contents of a dump, read from the file itself."""

from __future__ import annotations

import random
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from arcweb.backups import entries, server
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.processes import run
from arcweb.backups.proving import archive, unpacking
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample


def listing(path: Path) -> str:
    with server.connect() as connection:
        return run([server.program("pg_restore", connection).path, "--list", path]).decode()


@pytest.mark.parametrize("how", ["none", "gzip", "file"])
def test_it_reads_what_pg_restore_reads(source: Sample, tmp_path: Path, how: str) -> None:
    path = tmp_path / "dump"
    if how == "file":  # pg_dump puts the places of the data into a file, and cannot into a pipe
        sample.pg_dump(source.name, "--format=custom", "--compress=none", f"--file={path}")
    else:
        path.write_bytes(sample.pg_dump(source.name, "--format=custom", f"--compress={how}"))
    with path.open("rb") as file:
        found = archive.read(file)
        rows = {one.dump_id for one in archive.data(file, found) if not one.piece}
        measured = unpacking.measure(file, found, path.stat().st_size, lambda done: None)
    lines = [line for line in listing(path).splitlines() if not line.startswith(";")]
    shown = [item.line for item in found.items if not entries.of_the_database(item)]
    assert [line.rstrip() for line in lines] == [line.rstrip() for line in shown]
    assert found.compression == ("gzip" if how == "gzip" else "none")
    assert rows == {item.dump_id for item in found.items if item.kind == "TABLE DATA"}
    assert all((item.place is not None) == (how == "file") for item in found.items if item.data)
    # The metadata alone are 60 times 100 kB, whatever the file has.
    assert measured > 6_000_000
    assert found.server.startswith("18")
    table = next(item for item in found.items if (item.kind, item.name) == ("TABLE", "memories"))
    assert table.definition.startswith("CREATE TABLE agents.memories (")
    assert table.section == "pre-data"
    data = next(item for item in found.items if (item.kind, item.name) == ("TABLE DATA", "memories"))
    assert data.copy == "COPY agents.memories (id, agent_id, content, embedding, metadata) FROM stdin;\n"


def test_what_is_cut_or_damaged_is_said_so_and_nothing_else_happens(source: Sample) -> None:
    head = archive.read(BytesIO(source.custom)).end
    for length in [*range(0, head, 997), head - 1]:
        with pytest.raises(CorruptCopy):
            archive.read(BytesIO(source.custom[:length]))
    whole = archive.read(BytesIO(source.custom))
    for length in (head + 3, head + 20, len(source.custom) - 1):
        with pytest.raises(CorruptCopy, match="cut"):
            list(archive.data(BytesIO(source.custom[:length]), whole))
    chance = random.Random(5)
    for _ in range(300):
        damaged = bytearray(source.custom[:head])
        damaged[chance.randrange(head)] ^= 1 << chance.randrange(8)
        try:
            archive.read(BytesIO(bytes(damaged)))
        except BackupError:
            continue


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"", "cut"),
        (b"-- SQL text\n" * 20, "no file of pg_dump's custom format"),
        (b"PGDMP\x01\x09\x00\x04\x08\x01", "of version 1.9"),
        (b"PGDMP\x01\x20\x00\x04\x08\x01", "of version 1.32"),
        (b"PGDMP\x01\x10\x00\x02\x08\x01", "damaged"),
        (b"PGDMP\x01\x10\x00\x04\x08\x03" + bytes(400), "not of the custom format"),
        (
            b"PGDMP\x01\x10\x00\x04\x08\x01\x00" + bytes(35) + (b"\x00\xff\xff\xff\x7f" * 40),
            "longer than any",
        ),
        (b"PGDMP\x01\x10\x00\x04\x08\x01\x00" + bytes(35) + bytes(15) + b"\0\xff\xff\xff\x7f", "claims"),
    ],
)
def test_what_no_archive_begins_with_is_refused(begin: bytes, said: str) -> None:
    with pytest.raises(BackupError, match=said):
        archive.read(BytesIO(begin))


def test_data_that_do_not_fit_the_table_of_contents_are_found(source: Sample, tmp_path: Path) -> None:
    found, data = archive.read(BytesIO(source.custom)), BytesIO(source.custom)
    first = next(archive.data(data, found)).dump_id
    begins = {found.end: first}
    for one in archive.data(data, found):
        if not one.piece:
            begins.setdefault(data.tell(), 0)
    second = sorted(begins)[1]

    def refused(file: bytes, contents: archive.Archive, words: str) -> None:
        with pytest.raises(CorruptCopy, match=words):
            list(archive.data(BytesIO(file), contents))

    refused(source.custom[:second], found, r"before the data of \d+ of its tables")
    refused(source.custom + source.custom[found.end : second], found, "belong to no entry")
    of_blobs = source.custom[: found.end] + b"\x03" + source.custom[found.end + 1 :]
    refused(of_blobs, found, "belong to no entry")
    below_nothing = found.end + 6  # the sign of the first piece's length, behind a kind and a number
    assert source.custom[below_nothing] == 0
    backwards = source.custom[:below_nothing] + b"\x01" + source.custom[below_nothing + 1 :]
    refused(backwards, found, "a length that no row has")
    moved = tuple(replace(item, place=1) if item.dump_id == first else item for item in found.items)
    refused(source.custom, replace(found, items=moved), "points beside")


def test_a_text_with_a_zero_byte_and_a_number_that_is_given_twice_are_refused(source: Sample) -> None:
    def number(value: int) -> bytes:
        return b"\0" + value.to_bytes(4, "little")

    name = number(6) + b"agents"
    assert name in source.custom
    with pytest.raises(CorruptCopy, match="zero byte"):
        archive.read(BytesIO(source.custom.replace(name, number(6) + b"age\0ts", 1)))
    one, two = archive.read(BytesIO(source.custom)).items[:2]
    rest = number(two.data) + number(len(two.catalog[0])) + two.catalog[0].encode()
    assert source.custom.count(number(two.dump_id) + rest) == 1
    with pytest.raises(CorruptCopy, match="same number"):
        archive.read(BytesIO(source.custom.replace(number(two.dump_id) + rest, number(one.dump_id) + rest)))


def test_texts_that_are_too_long_together_are_refused(
    source: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LONGEST_CONTENTS", 1000)
    with pytest.raises(CorruptCopy, match="longer than any"):
        archive.read(BytesIO(source.custom))


def test_rows_that_cannot_be_decompressed_are_found(source: Sample) -> None:
    file = BytesIO(source.custom)
    found = archive.read(file)
    for how, kind, said in (
        ("gzip", CorruptCopy, "rows cannot be decompressed"),
        ("zstd", CorruptCopy, "rows cannot be decompressed"),
        ("lz4", BackupError, "compressed by LZ4, which cannot be read here"),
    ):
        with pytest.raises(kind, match=said):
            unpacking.measure(file, replace(found, compression=how), len(source.custom), lambda done: None)


def test_entries_that_pg_restore_reads_otherwise_are_found(source: Sample, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(source.custom)
    found = archive.read(BytesIO(source.custom))
    choice, told = entries.of_ours(found.items), listing(path)
    entries.check_listing(found, choice, told)
    with pytest.raises(CorruptCopy, match="something else in the archive"):
        entries.check_listing(found, choice, told + "\n9999; 1259 1 EVENT TRIGGER - evil arc\n")
    with pytest.raises(CorruptCopy, match=r"does not find SCHEMA agents|does not find"):
        entries.check_listing(found, choice, "\n".join(told.splitlines()[:-3]))
