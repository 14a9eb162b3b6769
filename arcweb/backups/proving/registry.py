"""Which function proves which format of copy, by name: nothing is imported before it is needed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Prover:
    """path: "package.module.name" of a function that is given a Copy and a Ladder."""

    path: str
    unpack: bool  #: wants the raw bytes as a file (`Copy.raw`)


_provers: dict[str, Prover] = {}


def register_prover(formats: Iterable[str], path: str, *, unpack: bool = False) -> None:
    """Have copies of these formats proven by the function at `path`, once their file has its right hash.

    unpack: decrypted and decompressed into a temporary file first, `copy.raw`; else `copy.open()` streams it.
    """
    for name in formats:
        _provers[name] = Prover(path, unpack)


def prover_of(name: str) -> Prover | None:
    return _provers.get(name)


register_prover(["custom", "plain"], "arcweb.backups.proving.postgres.prove", unpack=True)
register_prover(["base", "incremental"], "arcweb.backups.physical.proof.prove")
register_prover(["rdb"], "arcweb.backups.redis_rdb.prover.prove")
