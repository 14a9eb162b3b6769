"""Which entries of a dump are restored, and why the others are not. Pure.

From our own copies everything is taken that a role without superuser may make in a database from the
template. From outside only what is known to be data, and the tables around it: the code in such a database is
the project's own, which a file cannot bring along changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.proving import statements
from arcweb.backups.proving.archive import Archive, Item

#: Extensions that the template brings, or every database.
EXTENSIONS = ("vector", "pg_stat_statements", "plpgsql")
#: Never part of a restore into a database that is there already.
OF_THE_DATABASE = (*statements.FIXED, "DATABASE", "DATABASE PROPERTIES")
#: Made by a superuser alone, or reaching beyond the database; PostgreSQL's documentation of each CREATE.
SUPERUSERS = {
    "EVENT TRIGGER": "an event trigger runs at other people's commands, and a superuser alone may make one",
    "PROCEDURAL LANGUAGE": "languages come with the template",
    "FOREIGN DATA WRAPPER": "a superuser alone may make one",
    "SERVER": "it needs a foreign data wrapper",
    "USER MAPPING": "it needs a foreign server",
    "FOREIGN TABLE": "it needs a foreign server",
    "SUBSCRIPTION": "it would connect to another server at once",
    "PUBLICATION": "it would send changes to subscribers",
    "PUBLICATION TABLE": "it belongs to a publication",
    "PUBLICATION TABLES IN SCHEMA": "it belongs to a publication",
    "OPERATOR CLASS": "a superuser alone may make one",
    "OPERATOR FAMILY": "a superuser alone may make one",
    "ACCESS METHOD": "a superuser alone may make one",
    "TRANSFORM": "it needs a language of its own",
    "SECURITY LABEL": "it needs a label provider",
}
#: Beyond those, from outside: kind → why not.
FOREIGN = {
    "PROCEDURE": "procedures from outside are not taken",
    "AGGREGATE": "aggregates from outside are not taken",
    "OPERATOR": "an operator could stand in for one of PostgreSQL's own",
    "CAST": "a cast runs a function wherever types meet",
    "CONVERSION": "it runs a function on every text",
    "COLLATION": "collations from outside are not taken",
    "DOMAIN": "its conditions run at every row",
    "SHELL TYPE": "it announces a type in C",
    "VIEW": "its query would run as the application's role",
    "MATERIALIZED VIEW": "its query would run as the application's role",
    "MATERIALIZED VIEW DATA": "its query would run as the application's role, at once",
    "RULE": "it would change what statements of the application do",
    "POLICY": "it would change which rows the application sees",
    "ROW SECURITY": "it would change which rows the application sees",
    "BLOB": "large objects are not part of this application",
    "BLOBS": "large objects are not part of this application",
    "BLOB METADATA": "large objects are not part of this application",
    "TEXT SEARCH CONFIGURATION": "text searches from outside are not taken",
    "TEXT SEARCH DICTIONARY": "text searches from outside are not taken",
    "TEXT SEARCH PARSER": "text searches from outside are not taken",
    "TEXT SEARCH TEMPLATE": "text searches from outside are not taken",
}
#: Left out of every restore: rights name roles that may not be there, statistics are gathered again.
LEFT = ("EXTENSION", "STATISTICS DATA")
RIGHTS = ("ACL", "DEFAULT ACL")
#: kind → the section in which pg_dump has it.
SECTIONS = {"TABLE DATA": "data", "SEQUENCE SET": "data", "COMMENT": "none"} | dict.fromkeys(
    ("CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "INDEX ATTACH", "TRIGGER"), "post-data"
)
LANGUAGES = ("plpgsql", "sql")


@dataclass
class Choice:
    """taken: to be restored. left: out, and why. refused: with these the file is not restored at all."""

    taken: list[Item] = field(default_factory=list)
    left: list[tuple[Item, str]] = field(default_factory=list)
    refused: list[tuple[Item, str]] = field(default_factory=list)

    def as_list(self) -> str:
        """For `pg_restore --use-list`."""
        return "".join(f"{item.dump_id}; {' '.join(item.catalog)}\n" for item in self.taken)

    def refusal(self, most: int = 5) -> str:
        """A sentence that names what is refused; "" where nothing is."""
        if not self.refused:
            return ""
        named = "; ".join(f"{item}: {why}" for item, why in self.refused[:most])
        more = f"; and {len(self.refused) - most:,} more" if len(self.refused) > most else ""
        return f"The file holds what a file from outside may not bring: {named}{more}."

    @property
    def extensions(self) -> list[str]:
        """What the database must have already."""
        return [item.name for item, _ in self.left if item.kind == "EXTENSION"]


def of_ours(items: Iterable[Item], *, rights: bool = False) -> Choice:
    """What is restored of a copy that this program made.

    rights: also what roles may do with the objects; never those on PostgreSQL's own, which the template has.
    """
    choice = Choice()
    for item in items:
        if of_the_database(item):
            continue
        if why := SUPERUSERS.get(item.kind) or _left(item, rights=rights):
            choice.left.append((item, why))
        else:
            choice.taken.append(item)
    return choice


def from_outside(items: Iterable[Item]) -> Choice:
    """What is restored of a file that may be hostile: what is not known to be harmless is refused."""
    choice = Choice()
    for item in items:
        if item.kind in statements.FIXED:
            if item.definition != statements.FIXED[item.kind] or item.data or item.copy:
                choice.refused.append((item, "it sets something else than pg_dump does"))
        elif of_the_database(item) and not item.data:
            continue
        elif why := _why_not(item):
            choice.refused.append((item, why))
        elif why := _left(item, rights=False):
            choice.left.append((item, why))
        else:
            choice.taken.append(item)
    return choice


def of_the_database(item: Item) -> bool:
    """Whether it makes or describes the database itself: pg_restore leaves it out without --create."""
    about = item.kind in ("ACL", "COMMENT", "SECURITY LABEL") and item.name.startswith("DATABASE ")
    return about or item.kind in OF_THE_DATABASE


def check_listing(archive: Archive, choice: Choice, listing: str) -> None:
    """pg_restore read the same from the file as we did. Raises CorruptCopy.

    listing: what `pg_restore --list` printed.
    """
    lines = {line.rstrip() for line in listing.splitlines() if line and not line.startswith(";")}
    known = {item.line.rstrip() for item in archive.items}
    if strange := sorted(lines - known):
        raise CorruptCopy(f"pg_restore finds something else in the archive than it holds: {strange[0]!r}.")
    if missing := [item for item in choice.taken if item.line.rstrip() not in lines]:
        raise CorruptCopy(f"pg_restore does not find {missing[0]} in the archive.")


def _left(item: Item, *, rights: bool) -> str:
    if item.kind == "EXTENSION":
        return "the template brings the extension"
    if item.kind == "COMMENT" and item.name.startswith("EXTENSION "):
        return "it belongs to an extension"
    if item.kind in RIGHTS and (not rights or item.schema == "pg_catalog"):
        return "rights are given by the target"
    return "statistics are gathered again" if item.kind in LEFT else ""


def _why_not(item: Item) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in item.name + item.schema + item.owner):
        return "its name has characters that no name has"
    if item.kind == "EXTENSION":
        known = ", ".join(EXTENSIONS)
        return "" if item.name in EXTENSIONS else f"the only extensions known here are {known}"
    if why := SUPERUSERS.get(item.kind) or FOREIGN.get(item.kind):
        return why
    if item.kind in (*RIGHTS, *LEFT):
        return ""
    if item.kind != "TABLE DATA" and item.kind not in statements.FORMS:
        return "what it is, is not known here"
    if item.section != SECTIONS.get(item.kind, "pre-data"):
        return "it stands in another part of the file than pg_dump puts it"
    if item.schema.startswith("pg_") or (item.kind == "SCHEMA" and item.name.startswith("pg_")):
        return "schemas that begin with pg_ are PostgreSQL's own"
    return _why_not_data(item) if item.kind == "TABLE DATA" else _why_not_sql(item)


def _why_not_data(item: Item) -> str:
    # Without a COPY, pg_restore runs the data themselves as SQL (pg_dump --inserts).
    if not item.data or not statements.COPY.fullmatch(item.copy):
        return "its rows do not come by COPY … FROM stdin alone"
    return "its entry holds SQL" if item.definition else ""


def _why_not_sql(item: Item) -> str:
    if item.data or item.copy:
        return "it has data where pg_dump has none"
    try:
        statements.check(item.kind, item.definition)
        if item.kind == "FUNCTION":
            return _why_not_function(statements.words(item.definition))
    except statements.Unusual as error:
        return str(error)
    return ""


def _why_not_function(words: Sequence[str]) -> str:
    if "definer" in words:
        return "it would run with the rights of its owner (SECURITY DEFINER)"
    languages = [after for word, after in pairwise(words) if word == "language"]
    if len(languages) != 1 or languages[0] not in LANGUAGES:
        return f"only functions in {' and '.join(LANGUAGES)} are known here"
    return ""
