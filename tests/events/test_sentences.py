"""Every kind of event that the project records is a sentence to people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from arcweb.events.sentences import is_described, kinds, sentence

ROOT = Path(__file__).resolve().parents[2]


def recorded_kinds() -> Iterator[tuple[str, str]]:
    """(kind, file:line) of every call of record() in the code; what an f-string fills in becomes "x"."""
    for folder in ("arcweb", "agents", "memories", "cache_admin"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                if getattr(node.func, "id", getattr(node.func, "attr", "")) != "record":
                    continue
                for kind in literals(node.args[0]):
                    yield kind, f"{path.relative_to(ROOT)}:{node.lineno}"


def literals(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)]  # type: ignore[misc]
    return []


def test_every_kind_that_the_code_records_has_a_sentence() -> None:
    found = dict(recorded_kinds())
    assert {"auth.login", "document.added", "job.cancelled", "x.changed", "events.exported"} <= found.keys()
    missing = {kind: place for kind, place in found.items() if not is_described(kind)}
    assert not missing, "describe() them in arcweb/events/sentences.py"


def test_every_sentence_can_be_said() -> None:
    for kind in kinds():
        said = sentence(kind, "grace", {})
        assert "{" not in said
        assert said != kind


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("events.exported", {"events": 3, "format": "csv"}, "exported 3 event(s) as csv"),
        ("user.changed", {"fields": ["email"]}, "changed user grace: email"),
        ("group.deleted", None, "deleted group grace"),
        ("robot.started", {"events": 1}, "robot.started grace"),
        ("job.retried", [], "started the job grace again"),
    ],
)
def test_facts_are_filled_in(kind: str, data: object, words: str) -> None:
    assert sentence(kind, "grace", data) == words
