"""The table of contents of pg_dump's custom format, as the file itself has it. Pure.

`pg_restore --list` leaves out what matters most about a file from outside: the SQL of each entry, and the
entries ENCODING, STDSTRINGS and SEARCHPATH, whose SQL pg_restore runs whatever a list of entries says. So the
file is read here as ReadHead, ReadToc and _PrintTocData do in src/bin/pg_dump/pg_backup_archiver.c and
pg_backup_custom.c, versions 1.13 (2018) to 1.16 (PostgreSQL 18).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from arcweb.backups.exceptions import BackupError, CorruptCopy

MAGIC = b"PGDMP"
OLDEST, NEWEST = (1, 13), (1, 16)
CUSTOM = 1
COMPRESSIONS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
#: A definition of PostgreSQL is a string in its memory; ours are a few kB.
LONGEST_TEXT = 16 * 1024 * 1024
MOST_ENTRIES = 1_000_000
#: Bytes of all texts together: they are held in memory.
LONGEST_CONTENTS = 256 * 1024 * 1024
#: pg_dump writes a row, or some kB of compressed data, at a time; PostgreSQL's rows end at 1 GB.
LONGEST_CHUNK = 1024**3
SECTIONS = {1: "none", 2: "pre-data", 3: "data", 4: "post-data"}
#: Flags before the offset of an entry's data.
NOT_SET, SET, NO_DATA = 1, 2, 3
BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Item:
    """One entry. definition: the SQL that makes it; copy: the statement before its data."""

    dump_id: int
    catalog: tuple[str, str]  #: numbers of the catalog's table and of the row in it
    kind: str  #: "TABLE", "TABLE DATA", "FK CONSTRAINT" …
    schema: str
    name: str
    owner: str
    section: str  #: one of SECTIONS
    definition: str
    copy: str
    data: bool  #: has a stream of data of its own
    place: int | None  #: where in the file that stream begins; None: not told

    @property
    def line(self) -> str:
        """As `pg_restore --list` writes it."""
        name, schema, owner = (re.sub(r"[\r\n]", " ", text) for text in (self.name, self.schema, self.owner))
        return f"{self.dump_id}; {' '.join(self.catalog)} {self.kind} {schema or '-'} {name} {owner}"

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.schema}.' if self.schema else ''}{self.name}"


@dataclass(frozen=True)
class Archive:
    version: tuple[int, int]
    compression: str  #: of the data inside: one of COMPRESSIONS
    integer: int  #: bytes of an integer
    database: str
    server: str  #: "18.6"
    client: str
    items: tuple[Item, ...]
    end: int  #: where the table of contents ends and the data begin


def read(file: IO[bytes]) -> Archive:
    """The head and the table of contents of that file, from its beginning.

    Raises CorruptCopy for what is no archive, was cut, or has what no pg_dump writes; BackupError for a
    version of the format that is not known here.
    """
    return _Reader(file).archive()


@dataclass
class _Reader:
    file: IO[bytes]
    integer: int = 4
    offset: int = 8
    texts: int = 0

    def archive(self) -> Archive:
        if self._bytes(5) != MAGIC:
            raise CorruptCopy("This is no file of pg_dump's custom format: it does not begin with PGDMP.")
        version = (self._byte(), self._byte())
        self._byte()  # the revision
        if not OLDEST <= version <= NEWEST:
            raise BackupError(
                f"The archive is of version {version[0]}.{version[1]} of its format, and those from "
                f"{OLDEST[0]}.{OLDEST[1]} (PostgreSQL 10) to {NEWEST[0]}.{NEWEST[1]} (PostgreSQL 18) can be "
                "read here. Take it with such a pg_dump, or use a later ARC Web."
            )
        self.integer, self.offset = self._byte(), self._byte()
        if self.integer not in (4, 8) or self.offset not in (4, 8):
            raise CorruptCopy("The archive's head is damaged: its integers have no length that there is.")
        if self._byte() != CUSTOM:
            raise CorruptCopy("The archive is not of the custom format (pg_dump -Fc).")
        compression = self._compression(version)
        for _ in range(7):  # the time: seconds to years, and whether it is summer
            self._int()
        database, server, client = self._text(), self._text(), self._text()
        count = self._int()
        if not 0 <= count <= MOST_ENTRIES:
            raise CorruptCopy(f"The archive claims {count:,} entries, which no database has.")
        items = tuple(self._item(version) for _ in range(count))
        if len({item.dump_id for item in items}) != count:
            raise CorruptCopy("Two entries of the archive have the same number.")
        return Archive(version, compression, self.integer, database, server, client, items, self.file.tell())

    def _compression(self, version: tuple[int, int]) -> str:
        if version < (1, 15):
            return "gzip" if self._int() else "none"
        number = self._byte()
        if number not in COMPRESSIONS:
            raise CorruptCopy("The archive's data are compressed in a way that is unknown.")
        return COMPRESSIONS[number]

    def _item(self, version: tuple[int, int]) -> Item:
        dump_id, data = self._int(), self._int()
        if dump_id <= 0 or data not in (0, 1):
            raise CorruptCopy("The archive's table of contents is damaged.")
        catalog = self._text(), self._text()
        name, kind, section = self._text(), self._text(), self._int()
        definition, _drop, copy = self._text(), self._text(), self._text()
        schema, _tablespace = self._text(), self._text()
        if version >= (1, 14):
            self._text()  # access method
        if version >= (1, 16):
            self._int()  # relkind
        owner, _oids = self._text(), self._text()
        while self._text_or_none() is not None:
            pass  # what it depends on
        if section not in SECTIONS:
            raise CorruptCopy(f"The archive has a section {section}, which there is not.")
        return Item(
            dump_id,
            catalog,
            kind,
            schema,
            name,
            owner,
            SECTIONS[section],
            definition,
            copy,
            bool(data),
            self._place(),
        )

    def _place(self) -> int | None:
        flag, place = self._byte(), int.from_bytes(self._bytes(self.offset), "little")
        if flag not in (NOT_SET, SET, NO_DATA):
            raise CorruptCopy("The archive's table of contents is damaged: an offset is none.")
        return place if flag == SET else None

    def _text(self) -> str:
        return self._text_or_none() or ""

    def _text_or_none(self) -> str | None:
        length = self._int()
        if length < 0:
            return None
        self.texts += length
        if length > LONGEST_TEXT or self.texts > LONGEST_CONTENTS:
            raise CorruptCopy("The archive's table of contents is longer than any that pg_dump writes.")
        found = self._bytes(length)
        if b"\0" in found:  # pg_restore would read on only to here
            raise CorruptCopy("A text of the archive's table of contents holds a zero byte.")
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise CorruptCopy("The archive's table of contents is not in UTF-8.") from None

    def _int(self) -> int:
        sign, value = self._byte(), int.from_bytes(self._bytes(self.integer), "little")
        if value >= 2**31 or sign not in (0, 1):  # pg_restore holds it in an int
            raise CorruptCopy("The archive's table of contents is damaged: a number is too large.")
        return -value if sign else value

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        found = self.file.read(length)
        if len(found) != length:
            raise CorruptCopy("The archive ends within its table of contents: it was cut.")
        return found


@dataclass(frozen=True)
class Data:
    """One piece of an entry's data, as it stands in the file; `piece` is empty at the end of the entry."""

    dump_id: int
    piece: bytes


def data(file: IO[bytes], archive: Archive) -> Iterator[Data]:
    """Every stream of data behind the table of contents, in its order, in pieces of a BLOCK at most.

    Raises CorruptCopy where they are cut, or where one is of no entry that has data.
    """
    known = {item.dump_id: item for item in archive.items if item.data}
    file.seek(archive.end)
    left = set(known)
    while kind := file.read(1):
        begins = file.tell() - 1
        number = _number(file, archive.integer)
        if kind != b"\x01" or number not in left:
            raise CorruptCopy("In the archive stand data that belong to no entry of its table of contents.")
        place = known[number].place
        if place is not None and place != begins:
            raise CorruptCopy("The archive's table of contents points beside its data.")
        left.discard(number)
        while length := _number(file, archive.integer):
            if not 0 < length <= LONGEST_CHUNK:
                raise CorruptCopy("The archive's data are damaged: a piece has a length that no row has.")
            while length:
                piece = file.read(min(length, BLOCK))
                if not piece:
                    raise CorruptCopy("The archive ends within its data: it was cut.")
                length -= len(piece)
                yield Data(number, piece)
        yield Data(number, b"")
    if left:
        raise CorruptCopy(f"The archive ends before the data of {len(left):,} of its tables: it was cut.")


def _number(file: IO[bytes], integer: int) -> int:
    found = file.read(1 + integer)
    if len(found) != 1 + integer:
        raise CorruptCopy("The archive ends within its data: it was cut.")
    value = int.from_bytes(found[1:], "little")
    return -value if found[0] else value
