"""What the SQL of an archive's entries may look like when the file came from outside. Pure.

An entry of kind TABLE may hold any SQL at all: pg_restore sends it as it stands. So each statement must have
the form in which pg_dump writes that kind, and none of the forms runs somebody's code while it is restored.
What expressions call is not judged here but in the restored catalog (`expressions`), where there is no doubt.
"""

from __future__ import annotations

import re

from arcweb.backups.exceptions import BackupError

#: PostgreSQL's scanner (src/backend/parser/scan.l) with standard_conforming_strings on (which FIXED holds).
#: What pg_dump never writes and what is easily read in two ways is `bad`: escapes of one's own choice, and
#: comments that may lie in each other.
TOKEN = re.compile(
    r"""
    (?P<bad>[uU]&['"] | /\*)
  | (?P<space>[ \t\n\r\f\v]+ | --[^\n\r]*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*' | [bBxX]?'(?:[^']|'')*')
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
  | (?P<name>"(?:[^"]|"")+")
  | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
  | (?P<number>[0-9]+(?:\.[0-9]+)?)
  | (?P<sign>::|[-+*/<>=~!@\#%^&|`?:.,;()\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)

N = r"(?:N|[a-z_][a-z0-9_$]*)"
Q = rf"{N}(?: \. {N}){{0,2}}"
TABLE = rf"alter table (?:only )?{Q}"
#: Anything without a comma outside brackets: behind it an ALTER TABLE could do something else.
REST = r"(?: [^,]+)?"
KEPT = rf"{TABLE} (?:cluster on {N}|replica identity (?:full|nothing|using index {N}))"
#: Bounds are expressions, and run at once: only literals are taken.
BOUND = r"(?:S|D|- D|minvalue|maxvalue|null|true|false)"
BOUNDS = rf"\( {BOUND}(?: , {BOUND})* \)"

B = r"(?:B|\( \))"
PARTITIONED = r"(?: partition by (?:range|list|hash) B)?"
OF_SEQUENCES = r"(?:as|smallint|integer|bigint|start|increment|with|by|no|minvalue|maxvalue|cache|cycle|-|D)"
OF_INDEXES = rf"(?: include B)?(?: nulls not distinct)?(?: with B)?(?: where{REST})?"
OCCASION = rf"(?:insert|update|delete|truncate|or|of|,|{N})"
CHANGED = r"(?: when \( \( old \. \* is distinct from new \. \* \) \))?"
FOR_EACH = r"for each (?:row|statement)"
CALL = rf"execute function {Q} \( \)"

#: kind → forms of its statements: words in small letters, N a quoted name, S a string, D a number, B brackets
#: with anything in them, `( )` empty ones.
FORMS: dict[str, tuple[str, ...]] = {
    "SCHEMA": (rf"create schema {N}",),
    "TYPE": (rf"create type {Q} as (?:enum )?{B}",),
    # Neither AS nor EXECUTE (a query that runs) nor OF … FOR VALUES (bounds) has a place in it.
    "TABLE": (
        rf"create (?:unlogged )?table {Q} {B}(?: inherits B)?{PARTITIONED}(?: with B)?",
        rf"{TABLE} alter column {N} set (?:storage {N}|statistics (?:- )?D|compression {N}|not null|B)",
        KEPT,
    ),
    "TABLE ATTACH": (
        rf"{TABLE} attach partition {Q} default",
        rf"{TABLE} attach partition {Q} for values from {BOUNDS} to {BOUNDS}",
        rf"{TABLE} attach partition {Q} for values in {BOUNDS}",
        rf"{TABLE} attach partition {Q} for values with \( modulus D , remainder D \)",
    ),
    "SEQUENCE": (
        rf"create (?:unlogged )?sequence {Q}(?: {OF_SEQUENCES})*",
        rf"{TABLE} alter column {N} add generated (?:by default|always) as identity B",
    ),
    "SEQUENCE OWNED BY": (rf"alter sequence {Q} owned by {Q}",),
    "SEQUENCE SET": (r"select pg_catalog \. setval \( S , (?:- )?D , (?:true|false) \)",),
    "DEFAULT": (rf"{TABLE} alter column {N} set default{REST}",),
    "CONSTRAINT": (
        rf"{TABLE} add constraint {N} (?:primary key|unique|not null|exclude using [a-z]+){REST}",
        KEPT,
    ),
    "FK CONSTRAINT": (rf"{TABLE} add constraint {N} foreign key B references {Q}{REST}",),
    # One that holds already is tried as it is added, by code that nobody has looked at yet.
    "CHECK CONSTRAINT": (rf"{TABLE} add constraint {N} check B(?: no inherit)? not valid",),
    "INDEX": (
        rf"create (?:unique )?index {N} on (?:only )?{Q} using [a-z]+ B{OF_INDEXES}",
        KEPT,
        rf"alter index {Q} alter column D set statistics D",
    ),
    "INDEX ATTACH": (rf"alter index {Q} attach partition {Q}",),
    # No condition but that something changed, no arguments: they could run something, or have it run.
    "TRIGGER": (
        rf"create trigger {N} (?:before|after)(?: {OCCASION})+ on {Q} {FOR_EACH}{CHANGED} {CALL}",
        rf"{TABLE} (?:enable|disable)(?: always| replica)? trigger {N}",
    ),
    # To make one runs nothing; whether it is one of ours is asked before anything could call it.
    "FUNCTION": (rf"create function {Q} {B} returns{REST}",),
    "COMMENT": (r"comment on [^;]+ is (?:S|null)",),
}
#: Forms that say what stands in their brackets.
SPELLED = ("TABLE ATTACH", "SEQUENCE SET", "TRIGGER")
#: pg_restore runs these whatever it is told to leave out, so that they must be exactly so.
FIXED = {
    "ENCODING": "SET client_encoding = 'UTF8';\n",
    "STDSTRINGS": "SET standard_conforming_strings = 'on';\n",
    "SEARCHPATH": "SELECT pg_catalog.set_config('search_path', '', false);\n",
}
#: The statement before a table's data: from the file, and from nowhere else.
COPY = re.compile(
    r'COPY (?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+")\.(?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+")'
    r'(?: \((?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+")(?:, (?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+"))*\))?'
    r" FROM stdin;\n"
)
#: SQL of which no more is shown than this many characters.
SHOWN = 120


class Unusual(BackupError):  # noqa: N818 - reads as a sentence
    """SQL that is not of the form that pg_dump writes."""


def check(kind: str, definition: str) -> None:
    """Raises Unusual for a definition that is not of the forms of its kind. KeyError for an unknown kind."""
    forms = FORMS[kind]
    found = _statements(definition, spelled=kind in SPELLED)
    if not found:
        raise Unusual("it holds no statement")
    for skeleton in found:
        if not any(re.fullmatch(form, skeleton) for form in forms):
            raise Unusual(f"its SQL is not of the form that pg_dump writes: {_shown(definition)}")


def words(definition: str) -> list[str]:
    """The words of it outside strings and quoted names, in small letters. Raises Unusual."""
    return [text.lower() for kind, text in _tokens(definition) if kind == "word"]


def _statements(text: str, *, spelled: bool) -> list[str]:
    """Each statement's skeleton (see FORMS); with `spelled`, what is in brackets too."""
    found: list[str] = []
    parts: list[str] = []
    open_brackets: list[str] = []
    inside = 0  # parts of the outermost bracket
    before = ""
    for kind, piece in _tokens(text):
        if kind == before == "string":
            # The second goes by the rules of the first where a line ends between them.
            raise Unusual(f"two strings stand beside each other: {_shown(text)}")
        before = kind
        part = {"string": "S", "name": "N", "number": "D", "word": piece.lower()}.get(kind, piece)
        if not spelled and piece in "([" and kind == "sign":
            open_brackets.append(piece)
            inside += 1
        elif not spelled and piece in ")]" and kind == "sign":
            if not open_brackets or open_brackets.pop() + piece not in ("()", "[]"):
                raise Unusual(f"its brackets do not match: {_shown(text)}")
            if not open_brackets:
                parts.append("B" if inside > 1 or piece == "]" else "( )")
                inside = 0
        elif open_brackets:
            inside += 1
        elif piece == ";" and kind == "sign":
            if parts:
                found.append(" ".join(parts))
            parts = []
        else:
            parts.append(part)
    if open_brackets:
        raise Unusual(f"its brackets do not match: {_shown(text)}")
    return [*found, " ".join(parts)] if parts else found


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None or match.lastgroup == "bad":
            raise Unusual(f"its SQL cannot be read with certainty: {_shown(text[place:])}")
        kind, end = str(match.lastgroup), match.end()
        if kind == "dollar":
            end = text.find(match[0], end)
            if end < 0:
                raise Unusual(f"a string in it does not end: {_shown(text[place:])}")
            kind, end = "string", end + len(match[0])
        if kind != "space":
            found.append((kind, text[place:end]))
        place = end
    return found


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
