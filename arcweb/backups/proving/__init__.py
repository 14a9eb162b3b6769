"""Proving copies: written → hashed → verified, each step in words. Pure here; `proof` does the work.

A format's prover is registered beside its taker, by its name:

    def prove(copy: Copy, ladder: Ladder) -> None:
        with ladder.step("loaded") as step:
            ...
            step.sentence = "Valkey 9.1 loaded 12,000 keys in 0.4 s."

    register_prover(["rdb"], "package.module.prove")

It raises CorruptCopy when the copy itself is at fault, and any other BackupError when the check could not be
made: then the copy keeps its state, and the sentence is shown.
"""

from arcweb.backups.proving.ladder import Console, Context, Copy, Ladder, NotTried, Step
from arcweb.backups.proving.registry import prover_of, register_prover

__all__ = ["Console", "Context", "Copy", "Ladder", "NotTried", "Step", "prover_of", "register_prover"]
