"""What replication has to say to the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse

from arcweb.charts import size
from arcweb.database.findings import Finding, Look, register_look
from arcweb.database.replication import standbys
from arcweb.database.replication.standbys import Replica, Slot
from arcweb.database.standing import standing
from arcweb.postgres import replica as reading


def replication_findings() -> list[Finding]:
    """All of it, from three short statements."""
    return [
        *reads_findings(),
        *of_replicas(standbys.replicas(), standbys.settings()["synchronous_standby_names"]),
        *of_slots(standbys.slots()),
    ]


def of_replicas(found: Sequence[Replica], synchronous: str) -> list[Finding]:
    page = reverse("admin:database_replication")
    findings = []
    if synchronous and not any(one.sync in ("sync", "quorum") for one in found):
        findings.append(
            Finding(
                "bad",
                f"synchronous_standby_names is “{synchronous}”, and no such replica is connected: every "
                "commit waits.",
                page,
                "Show replicas",
                statement="ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();",
                why="Whatever commits waits for a synchronous replica, without a limit of time.",
            )
        )
    for one in found:
        if one.late:
            seconds = f"{one.seconds_words}, " if one.seconds is not None else ""
            findings.append(
                Finding(
                    "warn",
                    f"The replica {one.name or one.pid} is {seconds}{one.behind_words} behind.",
                    page,
                    "Show replicas",
                    why=f"From {standbys.LAG_SECONDS} s or {size(standbys.LAG_BYTES)} on; it catches up "
                    "when its disk and the network can, unless its replay is paused or delayed.",
                )
            )
    if any(one.hidden for one in found) and (trouble := standing().why_not("activity")):
        findings.append(Finding("unknown", trouble, page, "Replicas"))
    return findings


def of_slots(found: Sequence[Slot]) -> list[Finding]:
    page = reverse("admin:database_replication")
    findings = []
    for slot in found:
        common = {"url": page, "action": "Show slots", "since": slot.inactive_since}
        if slot.lost:
            findings.append(
                Finding(
                    "bad",
                    f"The slot {slot.name} is lost: WAL that its replica needs is gone, and it must be "
                    "made anew.",
                    statement=slot.statement,
                    why="wal_status is lost" + (f" ({slot.reason})." if slot.reason else "."),
                    **common,  # type: ignore[arg-type]
                )
            )
        elif slot.near:
            findings.append(
                Finding(
                    "bad" if slot.status == "unreserved" else "warn",
                    f"The slot {slot.name} holds {slot.held_words} of WAL, near the limit: its replica "
                    "must read on, or it is lost.",
                    why=f"From {standbys.SHARE:.0%} of max_slot_wal_keep_size on, or wal_status unreserved.",
                    **common,  # type: ignore[arg-type]
                )
            )
        elif slot.forgotten:
            findings.append(
                Finding(
                    "warn",
                    f"Nobody reads the slot {slot.name}, which holds {slot.held_words} of WAL: the disk "
                    "fills until its replica is back, or the slot is dropped.",
                    statement=slot.statement,
                    why=f"From {size(standbys.HELD)} on.",
                    **common,  # type: ignore[arg-type]
                )
            )
    return findings


def reads_findings() -> list[Finding]:
    """Whether lists and search are read from the replica; only a web process knows."""
    now = reading.state()
    if not reading.configured() or now.checked_at is None or now.fresh:
        return []
    return [
        Finding(
            "warn",
            f"Lists and search are read from the primary, because {now.trouble}.",
            reverse("admin:database_replication"),
            "Show why",
            since=now.since,
            why="POSTGRES_REPLICA_HOST names a replica; it serves while it is at most "
            "ARC_REPLICA_MAX_LAG_SECONDS behind.",
        )
    ]


register_look(
    Look("replication", "Replication", replication_findings, "admin:database_replication", order=70)
)
