"""Which function proves which format of copy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arcweb.backups.proving.ladder import Copy, Ladder

Prove = Callable[["Copy", "Ladder"], None]


@dataclass(frozen=True)
class Prover:
    prove: Prove
    unpack: bool  #: wants the raw bytes as a file (`Copy.raw`)


_provers: dict[str, Prover] = {}


def register_prover(formats: Iterable[str], prove: Prove, *, unpack: bool = False) -> None:
    """Have copies of these formats proven by `prove`, which is called when the file has its right hash.

    unpack: decrypted and decompressed into a temporary file first, `copy.raw`; else `copy.open()` streams it.
    Raises ValueError where another module has a format already.
    """
    for name in formats:
        known = _provers.get(name)
        if known is not None and known.prove.__module__ != prove.__module__:
            raise ValueError(f"Two provers claim the format {name!r}.")
        _provers[name] = Prover(prove, unpack)


def prover_of(name: str) -> Prover | None:
    return _provers.get(name)
