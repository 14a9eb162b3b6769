"""Events about restores: before effects in live, after the exchange in what is live then."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.db import DatabaseError, connection

from arcweb.backups.erasures import Erasure
from arcweb.backups.restore.journal import Folder, Journal, now
from arcweb.events import Actor, record
from arcweb.events.actors import SYSTEM, ActorKind
from arcweb.events.sentences import describe

logger = logging.getLogger(__name__)
TYPE = "backups.restore"
TOLD = "SELECT EXISTS (SELECT FROM events.events WHERE object_id = %s AND object_type = %s AND kind = %s)"

describe("restore.started", "began to restore {object} into a database of its own")
describe("restore.confirmed", "confirmed that {object} takes the place of the database {database}")
describe("restore.swapped", "put {object} in the place of the database {database}")
describe("restore.undone", "undid the restore of {object}: the database of before is live again")
describe("restore.failed", "did not restore {object}; the database {database} is as it was")
describe("restore.discarded", "discarded what was prepared of {object}")
describe("restore.dropped", "dropped {dropped}, the database before the restore of {object}")
describe("restore.part", "restored a part of {object}: {part}")
describe("erasure.ordered", "ordered an erasure that restores carry out again: {erased}")


def actor_of(journal: Journal) -> Actor:
    """Who confirmed it, or asked for it."""
    who = journal.confirmed_by or journal.actor
    if not who:
        return SYSTEM
    return Actor(cast("ActorKind", who.get("kind", "system")), who.get("id", ""), who.get("name", ""))


def said_of(actor: Actor) -> dict[str, str]:
    """As a journal keeps an actor."""
    return {"kind": actor.kind, "id": actor.id, "name": actor.name}


def tell(kind: str, journal: Journal, *, note: str = "", **data: Any) -> None:
    """Record it in what is live now. Raises django.db.DatabaseError."""
    record(
        kind,
        object_type=TYPE,
        object_id=journal.id,
        label=journal.file or journal.new,
        data={"backup": journal.backup, "database": journal.live, **data},
        note=note,
        actor=actor_of(journal),
    )


def erasure(one: Erasure, what: str) -> None:
    """In the transaction that carries it out. Raises django.db.DatabaseError."""
    record("erasure.ordered", object_type="backups.erasure", object_id=one.id, data={"erased": what})


def started(journal: Journal) -> None:
    """Before anything is made. A live database that is away or gone takes no event, and no harm."""
    _try("restore.started", journal)


def failed(journal: Journal) -> None:
    _try("restore.failed", journal, note=journal.trouble)


def exchanged(journal: Journal, folder: Folder) -> None:
    """In the new live database, once however often it is called: who did this; and the catalogue anew."""
    kind = "restore.undone" if journal.kind == "undo" else "restore.swapped"
    connection.close()
    try:
        with connection.cursor() as cursor:
            cursor.execute(TOLD, [journal.id, TYPE, kind])
            known = cursor.fetchone()[0]
        if not known:
            tell(kind, journal, safety=journal.safety, confirmed=journal.confirmed_at)
        _scan()
    except Exception as error:  # whatever it is: pages would answer 503 until somebody mends it
        logger.exception("What was restored works, but it could not be told in its events.")
        journal.facts["untold"] = str(error)
    if journal.kind == "undo" and (original := folder.read(journal.of)) and not original.undone_at:
        original.undone_at = now()
        folder.write(original)


def _scan() -> None:
    """Copies that the restored catalogue has never heard of, and those whose files are gone."""
    from arcweb.backups import catalogue

    catalogue.scan()


def _try(kind: str, journal: Journal, note: str = "") -> None:
    try:
        connection.close_if_unusable_or_obsolete()
        tell(kind, journal, note=note)
    except DatabaseError:
        logger.warning("%s of restore %s could not be recorded in %s.", kind, journal.id, journal.live)
    finally:
        connection.close()
