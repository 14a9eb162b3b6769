"""The head, the end and the checksum of an RDB, as real servers write them, and as nobody does."""

from __future__ import annotations

import io
import random
from datetime import UTC, datetime

import pytest

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.redis_rdb.crc64 import BLOCK, POLYNOMIAL, Crc64
from arcweb.backups.redis_rdb.rdb import Checked, head
from tests.backups.redis.conftest import HERE, PROGRAMS, Serve, fill, folder_of
from tests.cache_admin import nodes


def crc64_bit_by_bit(data: bytes) -> int:
    """The definition, without tables."""
    total = 0
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (POLYNOMIAL if total & 1 else 0)
    return total


def passed(data: bytes, *, pieces: int = 1000) -> Checked:
    """The data read through in pieces of that length."""
    checked = Checked(io.BytesIO(data))
    while checked.read(pieces):
        pass
    return checked


@pytest.fixture(scope="module", params=HERE)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A product, and a file that it wrote."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "REDIS_SERVER", PROGRAMS[request.param])
        with nodes.serving(tmp_path_factory.mktemp("server"), "--save", "") as client:
            fill(client)
            client.execute_command("SAVE")
            return request.param, (folder_of(client) / "dump.rdb").read_bytes()


@pytest.fixture
def product(written: tuple[str, bytes]) -> str:
    return written[0]


@pytest.fixture
def rdb(written: tuple[str, bytes]) -> bytes:
    return written[1]


def test_the_sum_of_the_test_value_is_that_of_the_servers_source() -> None:
    total = Crc64()
    total.update(b"123456789")
    assert total.value == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize("length", [0, 1, 7, 8, 511, 513, 20_001])
def test_the_sum_is_the_defined_one_in_pieces_of_any_length(length: int) -> None:
    chance = random.Random(length)
    data = chance.randbytes(length)
    total, place = Crc64(), 0
    while place < length:
        step = chance.randint(1, 700)
        total.update(data[place : place + step])
        place += step
    assert total.value == crc64_bit_by_bit(data)


def test_the_sum_of_several_blocks_is_that_of_the_whole() -> None:
    # Two blocks of zeros behind some bytes, and a rest: where blocks are put together wrongly, it shows.
    data = b"abc" + bytes(2 * BLOCK) + b"xyz"
    at_once, one_by_one = Crc64(), Crc64()
    at_once.update(data)
    for place in range(0, len(data), 300_007):
        one_by_one.update(memoryview(data)[place : place + 300_007])
    assert at_once.value == one_by_one.value
    ones = Crc64()
    ones.update(b"\xff" * BLOCK)
    known = Crc64()
    for _ in range(BLOCK // 4096):
        known.update(b"\xff" * 4096)
    assert ones.value == known.value != 0


def test_the_sum_of_more_than_a_block_is_the_defined_one() -> None:
    by_byte = [crc64_bit_by_bit(bytes([one])) for one in range(256)]
    data, wanted = random.Random(9).randbytes(BLOCK + 999), 0
    for byte in data:
        wanted = by_byte[(wanted ^ byte) & 255] ^ wanted >> 8
    total = Crc64()
    total.update(data[:700_000])
    total.update(data[700_000:])
    total.update(b"")
    assert total.value == wanted
    # Block after block, where the second begins from the sum of the first.
    twice = Crc64()
    twice.update(data[:BLOCK] + data)
    begun = Crc64()
    begun.update(data[:BLOCK])
    wanted = begun.value
    for byte in data:
        wanted = by_byte[(wanted ^ byte) & 255] ^ wanted >> 8
    assert twice.value == wanted


def test_a_servers_file_is_read_to_its_end(rdb: bytes, product: str) -> None:
    checked = passed(rdb)
    assert checked.finish() is True
    assert checked.bytes == len(rdb)
    assert checked.head.product == product
    assert checked.head.version >= 10
    assert checked.head.server.count(".") == 2
    assert checked.head.memory > 500_000
    moment = checked.head.taken_at
    assert moment is not None
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 600


@pytest.mark.parametrize("pieces", [1, 7, 8, 9, 64])
def test_it_does_not_matter_in_which_pieces_it_comes(rdb: bytes, pieces: int) -> None:
    assert passed(rdb, pieces=pieces).finish() is True


def test_every_flipped_bit_is_found(rdb: bytes) -> None:
    for place in random.Random(1).sample(range(20, len(rdb)), 60):
        bad = bytearray(rdb)
        bad[place] ^= 1 << place % 8
        with pytest.raises(CorruptCopy, match=r"changed after it was written|does not end|no RDB"):
            passed(bytes(bad)).finish()


@pytest.mark.parametrize("left", [9, 30, 200, -8, -1])
def test_a_cut_file_is_found(rdb: bytes, left: int) -> None:
    with pytest.raises(CorruptCopy, match=r"cut|changed"):
        passed(rdb[:left]).finish()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"PGDMP\x01\x0e\x00" + bytes(50), "begins with b'PGDMP"),
        (b"REDISxxxx", "no RDB"),
        (b"REDIS00", "no RDB"),
    ],
)
def test_what_is_no_rdb_is_said_to_be_none(data: bytes, words: str) -> None:
    with pytest.raises(CorruptCopy, match=words):
        passed(data).finish()


def test_a_server_without_checksums_writes_a_whole_file_too(serve: Serve, product: str) -> None:
    client = serve(product, "--rdbchecksum", "no")
    client.set("a", 1)
    client.execute_command("SAVE")
    data = (folder_of(client) / "dump.rdb").read_bytes()
    assert passed(data).finish() is False
    with pytest.raises(CorruptCopy, match="cut"):
        passed(data[:-3]).finish()


def test_versions_say_who_reads_them() -> None:
    assert head(b"REDIS0009").read_by == "either"
    assert head(b"REDIS0011").read_by == "either"
    assert head(b"REDIS0012").read_by == "Redis"
    assert head(b"VALKEY080").read_by == "Valkey"
    assert head(b"VALKEY080").product == "Valkey"


def test_facts_that_lie_or_are_cut_harm_nothing() -> None:
    for tail in (
        b"\xfa\x05ctime\x03abc",
        b"\xfa\x05ctime\xc1",
        b"\xfa\x81" + b"\xff" * 8,
        b"\xfa\x80\xff\xff\xff\xff",
    ):
        found = head(b"REDIS0011" + tail)
        assert found.taken_at is None
        assert found.memory == 0
    huge = head(b"REDIS0011\xfa\x05ctime\x1499999999999999999999")
    assert huge.taken_at is None


def test_the_head_is_refused_before_the_rest_is_read(serve: Serve) -> None:
    checked = Checked(io.BytesIO(b"<html>" + bytes(10_000_000)))
    with pytest.raises(CorruptCopy, match="no RDB"):
        checked.read(1000)
    assert checked.bytes == 0
