"""The value of a collection as JSON lines, read in bounded steps: not a snapshot, and it says so."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from redis import Redis

from cache_admin.keys.elements import KINDS
from cache_admin.keys.scan import words
from cache_admin.keys.secrecy import Rule
from cache_admin.keys.values import PIECE, Facts, Torn, at_once

#: Elements of one step at most.
STEP = 1000
CAVEAT = (
    "One JSON object a line, read step by step while others may write: not a snapshot. What changes "
    "meanwhile may be in it twice, or missing."
)


def lines(client: Redis, key: bytes, known: Facts, rule: Rule) -> Iterator[bytes]:
    r"""A collection's elements, a step of lines at a time. Bytes that are no text: {"base64": "…"}.

    What `rule` hides is masked. Raises Torn when the key has another type than `known` in the end or is
    gone, redis.exceptions.RedisError.
    """
    if known.kind not in KINDS:
        raise ValueError(f"A value of the type {known.kind} has no elements.")
    steps = {"hash": _hash, "set": _set, "zset": _zset, "list": _list, "stream": _stream}[known.kind]
    for step in steps(client, key, at_once(known, STEP, PIECE), rule):
        yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in step)
    if words(client.execute_command("TYPE", key)) != known.kind:
        raise Torn("The key was deleted, replaced or expired while it was downloaded.")


Lines = Iterator[Iterable[dict[str, Any]]]


def _said(rule: Rule, raw: bytes, name: bytes = b"") -> Any:
    return _text(rule.let(raw, name))


def _text(raw: bytes) -> Any:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def _hash(client: Redis, key: bytes, step: int, rule: Rule) -> Lines:
    cursor = 0
    while True:
        answer: Any = client.hscan(key, cursor, count=step)
        cursor, found = answer
        yield [
            {"field": _text(rule.field(field)), "value": _said(rule, content, field)}
            for field, content in found.items()
        ]
        if cursor == 0:
            return


def _set(client: Redis, key: bytes, step: int, rule: Rule) -> Lines:
    cursor = 0
    while True:
        answer: Any = client.sscan(key, cursor, count=step)
        cursor, found = answer
        yield [{"member": _said(rule, member)} for member in found]
        if cursor == 0:
            return


def _zset(client: Redis, key: bytes, step: int, rule: Rule) -> Lines:
    cursor = 0
    while True:
        answer: Any = client.zscan(key, cursor, count=step)
        cursor, found = answer
        yield [
            {"member": _said(rule, member), "score": score if math.isfinite(score) else str(score)}
            for member, score in found
        ]
        if cursor == 0:
            return


def _list(client: Redis, key: bytes, step: int, rule: Rule) -> Lines:
    start = 0
    while True:
        found: Any = client.lrange(key, start, start + step - 1)
        if not found:
            return
        yield [
            {"index": start + number, "element": _said(rule, element)} for number, element in enumerate(found)
        ]
        start += step


def _stream(client: Redis, key: bytes, step: int, rule: Rule) -> Lines:
    place = "-"
    while True:
        found: Any = client.xrange(key, min=place, count=step)
        if not found:
            return
        yield [
            {
                "id": words(one),
                "fields": [
                    [_text(rule.field(name)), _said(rule, content, name)]
                    for name, content in (fields or {}).items()
                ],
            }
            for one, fields in found
        ]
        place = f"({words(found[-1][0])}"
