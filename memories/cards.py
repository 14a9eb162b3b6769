"""What the overview and an agent's page show of memories and documents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from arcweb.charts import ending_now, quantity, summary
from arcweb.panels import Card, Chart, Concern, Panel, Row, State, register_panel
from arcweb.samples.series import Course, series
from arcweb.watches import Outlook, Watch, register_watch
from memories.activity import MOST_DAYS, MOST_DOCUMENTS, MOST_ROWS, documents_of, per_day, states_of
from memories.samplers import MOST_COUNTED, count_states

#: Points of a chart below which the longer time says nothing yet.
FEW = 4


def failed_memories(failed: float) -> tuple[Concern, ...]:
    """What is to be done about memories that could not be embedded."""
    if not failed:
        return ()
    what = "1 memory" if failed == 1 else f"{failed:,.0f} memories"
    return (
        Concern("warn", f"{what} failed to embed; search misses them.", _filtered("failed"), "Show them"),
    )


def memories_card(request: HttpRequest) -> Card:
    found = count_states()
    counts = found.counts
    hint = "estimated: the table's size by the last ANALYZE" if found.capped else "counted now"
    state: State = "warn" if counts["failed"] else "good" if found.total else "idle"
    waiting = counts["pending"] + counts["stale"]
    word = (
        f"{counts['failed']:,} failed"
        if counts["failed"]
        else f"{waiting:,} waiting"
        if waiting
        else "Well"
        if found.total
        else "Nothing stored yet"
    )
    rows = [Row("Embedded", f"{found.word('embedded')}{counts['embedded']:,}", hint)]
    rows += [
        Row(
            name.capitalize(),
            f"{found.word(name)}{counts[name]:,}",
            url=_filtered(name) if counts[name] else "",
        )
        for name in ("pending", "stale", "failed")
    ]
    if not found.total:
        concern = Concern(
            "idle",
            "Nothing is stored yet: ingest documents, or let an agent store its first memory.",
            reverse("admin:memories_ingest") if request.user.has_perm("memories.add_document") else "",
            "Ingest",
        )
        return Card(state, word, "0", "memories", tuple(rows), concerns=(concern,))
    return Card(
        state,
        word,
        f"{found.word()}{found.total:,}",
        "" if found.capped else "memories",
        tuple(rows),
        _growth(found.total),
        failed_memories(counts["failed"]),
    )


def _growth(now: int) -> Chart:
    """The number of memories over a day, or over the last hour while there is no day to show."""
    since, words = timedelta(days=1), "in the last 24 hours"
    course: Course = series("memories", "total", since, 48)
    if sum(value is not None for _, value in course) < FEW:
        since, words = timedelta(hours=1), "in the last hour"
        course = series("memories", "total", since, 60)
    course = ending_now(course, now)
    return Chart("Memories", course, summary=summary(course, "", words))


def look(values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample."""
    if values is None:
        return Outlook()
    embedded = values.get("embedded", 0)
    about = "about " if embedded > MOST_COUNTED else ""
    well = f"{about}{quantity(embedded)} memories are searchable by meaning" if embedded else ""
    return Outlook(failed_memories(values.get("failed", 0)), well)


def agent_memories_card(request: HttpRequest, agent: UUID) -> Card:
    found = states_of(agent)
    counts, total = found.counts, sum(found.counts.values())
    state: State = "warn" if counts["failed"] else "good" if total else "idle"
    days = per_day(agent)
    stored = sum(value or 0 for _, value in days.points)
    since = f"in {MOST_DAYS} days" if not days.cut else f"among the newest {MOST_ROWS:,}"
    return Card(
        state,
        f"{counts['failed']:,} failed" if counts["failed"] else "Well" if total else "None yet",
        f"{found.word()}{total:,}",
        "memories",
        tuple(
            Row(
                name.capitalize(),
                f"{found.word(name)}{counts[name]:,}",
                url=_filtered(name, agent) if counts[name] else "",
            )
            for name in ("embedded", "pending", "stale", "failed")
        ),
        Chart(
            "Memories stored per day",
            days.points,
            summary=f"{stored:,.0f} {since}, {quantity(days.points[-1][1] or 0)} today (UTC)",
        ),
    )


def agent_documents_card(request: HttpRequest, agent: UUID) -> Card:
    documents, count = documents_of(agent, 5)
    return Card(
        "good" if documents else "idle",
        "" if documents else "None yet",
        f"more than {MOST_DOCUMENTS:,}" if count > MOST_DOCUMENTS else f"{count:,}",
        "document" if count == 1 else "documents",
        tuple(
            Row(
                document.name,
                "being cut" if document.chunk_count is None else quantity(document.chunk_count, "chunks"),
                url=reverse("admin:memories_document_change", args=[document.pk]),
            )
            for document in documents
        ),
    )


def _filtered(state: str, agent: UUID | None = None) -> str:
    """The list of memories in that state."""
    own = f"&agent__id__exact={agent}" if agent else ""
    return f"{reverse('admin:memories_memory_changelist')}?embedding_state__exact={state}{own}"


register_watch(Watch("memories", "memories.view_memory", "memories", look, order=20))
register_panel(
    Panel(
        "memories",
        "Memories",
        "overview",
        "memories.view_memory",
        memories_card,
        order=10,
        url_name="admin:memories_memory_changelist",
    )
)
register_panel(
    Panel(
        "agent-memories",
        "Memories",
        "agent",
        "memories.view_memory",
        agent_memories_card,
        order=10,
        refresh=30,
        wide=True,
    )
)
register_panel(
    Panel(
        "agent-documents",
        "Documents",
        "agent",
        "memories.view_document",
        agent_documents_card,
        order=20,
        refresh=30,
    )
)
