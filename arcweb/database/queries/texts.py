"""Statements as they are shown: without secrets, laid out, with long vectors clipped. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from arcweb.database.queries.lexer import Token, first_word, meaningful, tokens

HIDDEN = "'********'"
#: Statements that may carry a secret in any of their strings. pg_stat_statements replaces constants by $n
#: in what it plans, not in these.
SECRETIVE = {"ROLE", "USER", "GROUP", "SERVER", "SUBSCRIPTION", "MAPPING", "WRAPPER"}
#: A secret inside a string, such as the address of a server. Without a bound many addresses that lack
#: their @ would take the square of their length.
IN_STRING = re.compile(
    r"(?P<before>\b(?:password|passwd|pwd|secret|token|api[-_]?key|sslpassword)(?:\s*(?:=>|=|:)\s*|\s+(?=')))"
    r"(?P<secret>(?:\\'|'')[^']*(?:\\'|'')|'[^']*'|[^\s'&;,]+)"
    r"|(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@']{0,100}:)(?P<word>[^\s@']{1,2000})(?=@)",
    re.IGNORECASE,
)
#: A name before a string that says what the string is: SET x.api_key TO '…', password => '…'.
TELLS = re.compile(r"passw(or)?d|passphrase|secret|token|api_?key|credential", re.IGNORECASE)
#: What ends what a name says of the string behind it.
ENDS = {",", ";", "(", ")", ".", "AND", "OR", "FROM", "WHERE", "SELECT"}
#: One class of characters, so that it takes one pass; a text that was cut may lack the end.
VECTOR = re.compile(r"\[(?P<numbers>[-+\d.,eE\s]{40,})(?P<end>\]|\Z)")
TYPED = re.compile(
    r"\b(?P<type>interval|date|timestamptz|timestamp|timetz|time)\s+(?P<parameter>\$\d+)", re.IGNORECASE
)
#: Words before which a new line begins.
BREAKS = {
    "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT",
    "SET", "VALUES", "RETURNING", "INSERT", "UPDATE", "DELETE", "WINDOW", "LEFT", "INNER", "CROSS", "FULL",
}  # fmt: skip
LONG = 100
NAMES_FOLLOW = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE"}
NO_NAMES = {
    "ONLY",
    "LATERAL",
    "SELECT",
    "SET",
    "ROWS",
    "IF",
    "EXISTS",
    "NOT",
    "AS",
    "END",
    "NOWAIT",
    "SKIP",
    "OF",
}
CLAUSES = {
    "SELECT", "FROM", "JOIN", "ON", "USING", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SET", "VALUES",
    "RETURNING", "WINDOW",
}  # fmt: skip


def shown(text: str) -> str:
    """The text of a statement for people who may see statements."""
    return clipped(masked(text))


def masked(text: str) -> str:
    """Passwords and the like replaced by stars; in doubt a string too many."""
    parts = list(tokens(text))
    words = {part.upper for part in [part for part in parts if part.kind == "word"][:4]}
    everything = first_word(text) in ("CREATE", "ALTER") and bool(words & SECRETIVE)
    told, said = False, list[str]()
    for part in parts:
        if part.kind == "string":
            said.append(HIDDEN if everything or told else _masked_inside(part.text))
            told = False
        else:
            said.append(_masked_inside(part.text) if part.kind == "comment" else part.text)
            if part.kind in ("word", "name") and TELLS.search(part.text):
                told = True
            elif part.text in ENDS or part.upper in ENDS:
                told = False
    return "".join(said)


def clipped(text: str) -> str:
    """Long vectors down to their first numbers and how many there are."""
    return VECTOR.sub(_clip, text)


def plannable(text: str) -> str:
    """A normalised text with typed constants (interval $1) as casts, which the server can plan."""
    return TYPED.sub(r"\g<parameter>::\g<type>", text)


def parameters(text: str) -> bool:
    """Whether the text has places for values ($1)."""
    return any(token.kind == "parameter" for token in meaningful(text))


@lru_cache(maxsize=8192)
def names(text: str) -> frozenset[str]:
    """The words and quoted names of a statement, in lower case."""
    return frozenset(
        token.text.strip('"').lower() for token in tokens(text) if token.kind in ("word", "name")
    )


@lru_cache(maxsize=8192)
def tables(text: str) -> frozenset[str]:
    """The tables and views that a statement names, without their schemas, in lower case.

    They stand behind FROM, JOIN, INTO, UPDATE, TABLE and commas; its own WITH and functions are none.
    """
    parts = meaningful(text)
    own = {
        part.text.strip('"').lower()
        for part, following in pairwise(parts)
        if part.kind in ("word", "name") and following.upper == "AS" and part.upper not in NO_NAMES
    }
    found: set[str] = set()
    wanted, opened = False, [""]  # the word before each open bracket
    clauses = [""]  # the last that began, within each of them: what a comma parts
    for place, part in enumerate(parts):
        before = parts[place - 1].upper if place else ""
        if part.text == "(":
            opened.append(before)
            clauses.append("")
            wanted = False
        elif part.text == ")":
            if len(opened) > 1:
                opened.pop()
                clauses.pop()
            wanted = False
        elif part.kind == "word" and part.upper in NAMES_FOLLOW:
            of_an_expression = opened[-1] in ("EXTRACT", "SUBSTRING", "TRIM", "OVERLAY", "POSITION")
            wanted = before not in ("DISTINCT", "FOR", "DO") and not of_an_expression
        elif wanted and part.kind in ("word", "name") and part.upper not in NO_NAMES:
            behind = parts[place + 1].text if place + 1 < len(parts) else ""
            if behind != ".":
                if behind != "(" or before == "INTO":
                    found.add(part.text.strip('"').lower())
                wanted = False
        if part.kind == "word" and part.upper in CLAUSES:
            clauses[-1] = part.upper
        elif part.text == "," and clauses[-1] in ("FROM", "JOIN", "ON", "USING"):
            wanted = True
    return frozenset(found - own)


def laid_out(text: str) -> str:
    """On several lines. What its author laid out already stays as it is, without the common margin."""
    text = text.strip()
    if "\n" in text:
        return _without_margin(text)
    if len(text) <= LONG:
        return text
    lines: list[str] = [""]
    depth, opened = 0, list[int]()
    before: Token | None = None
    for token in tokens(text):
        breaks = token.kind == "word" and token.upper in BREAKS and not _joined(before, token)
        inner = breaks and token.upper == "SELECT" and depth > 0
        if breaks and lines[-1].strip() and (inner or depth == 0 or depth in opened):
            if inner and depth not in opened:
                opened.append(depth)
            lines[-1] = lines[-1].rstrip()
            lines.append("  " * len([one for one in opened if one <= depth]))
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            opened = [one for one in opened if one < depth]
            depth -= 1
        if not (token.kind == "space" and not lines[-1].strip()):
            lines[-1] += " " if token.kind == "space" else token.text
        if token.kind not in ("space", "comment"):
            before = token
    return "\n".join(line.rstrip() for line in lines)


def _joined(before: Token | None, token: Token) -> bool:
    """Words that follow another on its line: DISTINCT FROM, FOR UPDATE, LEFT(…)."""
    if before is None:
        return False
    return before.upper in (
        "DISTINCT",
        "DO",
        "FOR",
        "DELETE",
        "LEFT",
        "FULL",
        "INNER",
        "CROSS",
        "EXTRACT",
        "ON",
    )


def _without_margin(text: str) -> str:
    first, *others = text.expandtabs(4).splitlines()
    margins = [len(line) - len(line.lstrip()) for line in others if line.strip()]
    margin = min(margins, default=0)
    return "\n".join([first, *(line[margin:].rstrip() for line in others)])


def _masked_inside(text: str) -> str:
    return IN_STRING.sub(
        lambda match: f"{match['before']}********" if match["before"] else f"{match['scheme']}********", text
    )


def _clip(match: re.Match[str]) -> str:
    numbers = match["numbers"].split(",")
    if len(numbers) < 8:
        return match[0]
    return f"[{numbers[0]},{numbers[1]},… {len(numbers)} numbers{match['end']}"
