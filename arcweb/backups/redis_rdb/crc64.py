"""The CRC at the end of an RDB file: CRC-64/REDIS (Jones' polynomial, reflected, from zero). No Django.

numpy computes thousands of short pieces side by side and puts their results together, which is some hundred
times as fast as a loop over bytes. Source of the parameters: `crc64.c` of Redis and Valkey, whose test value
is e9c6d914c4b8d9ca for "123456789".
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
#: ad93d23594c935a9 with its bits the other way round.
POLYNOMIAL = 0x95AC9329AC4BC9B5
#: A block is so many lanes of so many 8-byte words; 1 MB together.
LANES, WORDS = 2048, 64
BLOCK = LANES * WORDS * 8
LANE_POWER = (WORDS * 8).bit_length() - 1


class Crc64:
    """The sum of what was given to `update` so far."""

    def __init__(self) -> None:
        self._sum = 0
        self._rest = bytearray()

    def update(self, data: bytes | memoryview) -> None:
        self._rest += data
        whole = len(self._rest) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._sum = _advanced(self._sum, BLOCK) ^ _of_block(bytes(self._rest[start : start + BLOCK]))
        del self._rest[:whole]

    @property
    def value(self) -> int:
        if not self._rest:
            return self._sum
        # Zeros before the first byte change nothing of a sum that starts from zero.
        return _advanced(self._sum, len(self._rest)) ^ _of_block(bytes(self._rest).rjust(BLOCK, b"\0"))


def _of_block(block: bytes) -> int:
    """The sum of BLOCK bytes."""
    tables = _by_pairs()
    steps = np.ascontiguousarray(np.frombuffer(block, dtype="<u8").reshape(LANES, WORDS).T)
    sums, found = np.zeros(LANES, dtype=np.uint64), np.empty(LANES, dtype=np.uint64)
    pairs = np.empty((4, LANES), dtype=np.intp)
    for words in steps:
        pairs[:] = np.bitwise_xor(sums, words, out=found).view("<u2").reshape(LANES, 4).T
        np.take(tables[0], pairs[0], out=sums, mode="clip")
        for number in (1, 2, 3):
            np.take(tables[number], pairs[number], out=found, mode="clip")
            np.bitwise_xor(sums, found, out=sums)
    power = LANE_POWER
    while len(sums) > 1:  # each lane is put before its neighbour
        sums = _applied(_zeros(power), sums[0::2]) ^ sums[1::2]
        power += 1
    return int(sums[0])


def _advanced(total: int, count: int) -> int:
    """What `total` is after so many zero bytes."""
    sums = np.array([total], dtype=np.uint64)
    for power in range(count.bit_length()):
        if count >> power & 1:
            sums = _applied(_zeros(power), sums)
    return int(sums[0])


@cache
def _by_bytes() -> Words:
    """[k][b]: the sum of byte b with k zero bytes behind it."""
    tables = np.zeros((8, 256), dtype=np.uint64)
    for byte in range(256):
        total = byte
        for _ in range(8):
            total = total >> 1 ^ (POLYNOMIAL if total & 1 else 0)
        tables[0][byte] = total
    for k in range(1, 8):
        before = tables[k - 1]
        tables[k] = tables[0][(before & np.uint64(255)).astype(np.intp)] ^ (before >> np.uint64(8))
    return tables


@cache
def _by_pairs() -> Words:
    """[n][p]: what the pair of bytes p at place n of a word adds to the word's sum."""
    tables, pairs = _by_bytes(), np.arange(65536)
    return np.stack([tables[7 - 2 * n][pairs & 255] ^ tables[6 - 2 * n][pairs >> 8] for n in range(4)])


@cache
def _zeros(power: int) -> Words:
    """What 2**power zero bytes make of a sum: [n][b] of its byte n with value b."""
    if power == 0:
        bits = np.uint64(1) << np.arange(64, dtype=np.uint64)
        low = (bits & np.uint64(255)).astype(np.intp)
        bits = _by_bytes()[0][low] ^ (bits >> np.uint64(8))
    else:
        half = _zeros(power - 1)
        bits = _applied(half, np.stack([half[bit // 8][1 << bit % 8] for bit in range(64)]))
    tables = np.zeros((8, 256), dtype=np.uint64)
    for bit in range(64):
        chosen = (np.arange(256) >> bit % 8 & 1).astype(bool)
        tables[bit // 8][chosen] ^= bits[bit]
    return tables


def _applied(tables: Words, sums: Words) -> Words:
    places = np.ascontiguousarray(sums).view(np.uint8).reshape(-1, 8).astype(np.intp)
    found = tables[0][places[:, 0]]
    for number in range(1, 8):
        found ^= tables[number][places[:, number]]
    return found
