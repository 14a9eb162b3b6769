"""The panel in which one element of a collection is changed, on the page of its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis import Redis

from cache_admin.keys import elements, escapes
from cache_admin.keys.element_forms import WORDS, ElementForm
from cache_admin.keys.elements import mark_of, read_code
from cache_admin.keys.secrecy import Rule
from cache_admin.keys.values import Facts

#: What the removal of an element means.
LOST = {
    "hash": "The field and its value are gone.",
    "list": "Those behind it move up by one.",
    "set": "The member is gone.",
    "zset": "The member and its score are gone.",
    "stream": "The entry is gone, also for consumers that have not read it; the id is not given again.",
}


@dataclass(frozen=True)
class Panel:
    """One element. form: None for one that can only be removed; read: what its forms send back."""

    kind: str
    word: str
    code: str
    label: str
    now: str
    read: str
    there: bool
    form: ElementForm | None
    conflict: bool = False


def of_element(client: Redis, key: bytes, known: Facts, rule: Rule, code: str) -> dict[str, Any]:
    """What ?edit= asks for, for the template. Raises ValueError for an address that names none."""
    if not code or known.kind not in elements.KINDS:
        return {}
    name = read_code(known.kind, code)
    found = elements.read(client, key, known.kind, name)
    if found is None:
        return {"element_gone": label(known.kind, name, rule)}
    return {"element": panel(known, rule, name, code, found)}


def panel(
    known: Facts, rule: Rule, name: bytes, code: str, found: bytes | None, typed: dict[str, Any] | None = None
) -> Panel:
    """found: what the element holds, None: nothing (any more). typed: what a refused form held."""
    kind, form = known.kind, None
    read = mark_of(kind, found) if kind not in ("set", "stream") else ""
    lived = max(1, known.ttl // 1000) if known.ttl else None
    if kind in ("hash", "list", "zset") and not (kind == "list" and found is None):
        initial = {"read": read, "lived": lived, **(typed or _initial(kind, found or b""))}
        initial["read"] = read
        form = ElementForm(kind=kind, change=True, initial=initial)
    return Panel(
        kind,
        WORDS[kind],
        code,
        label(kind, name, rule),
        (rule.say(found, name) if kind != "zset" else found.decode()) if found is not None else "",
        read,
        found is not None,
        form,
        conflict=typed is not None,
    )


def label(kind: str, name: bytes, rule: Rule) -> str:
    return f"{int(name):,}" if kind == "list" else rule.name(name)


def _initial(kind: str, found: bytes) -> dict[str, Any]:
    if kind == "zset":
        return {"score": found.decode()}
    plain = escapes.plain(found)
    return {"value": found.decode() if plain else escapes.written(found), "escaped": not plain}
