"""What the overview shows of the backups."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from arcweb.backups.models import Source
from arcweb.backups.restore import recovery
from arcweb.backups.standing import LATE, TOO_OLD, standings
from arcweb.jobs.progress import duration
from arcweb.panels import Card, Concern, Panel, Row, State, register_panel
from arcweb.watches import Outlook, Watch, register_watch

SEE = "backups.view_backup"


def backups_card(request: HttpRequest) -> Card:
    stand = standings()
    ours = next(one for one in stand if one.source == Source.POSTGRES)
    return Card(
        ours.state,
        ours.word,
        big=duration(ours.age.total_seconds()) if ours.age is not None else "never",
        unit="since the last proven restore point" if ours.age is not None else "no proven restore point",
        rows=(
            *(
                Row(one.title, one.ago, "When the newest copy that was restored and compared was taken")
                for one in stand
                if one is not ours and (one.copies or one.failures)
            ),
            Row("Copies, proven of them", f"{ours.copies}, {ours.proven}"),
        ),
        concerns=() if ours.state == "good" else (Concern(ours.state, ours.sentence),),
    )


def look(values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample. A young installation waits for its first night."""
    # Not to the page of restores: who may see the backups may not open it.
    url, now = reverse("admin:backups"), timezone.now().timestamp()
    left = tuple(Concern("bad", one, url, "Show the backups") for one in _half_done())
    if values is None:
        return Outlook(left)
    concerns = [*left]
    since = values.get(f"proven_at:{Source.POSTGRES}")
    age = now - (since if since is not None else values.get("since", now))
    if age > LATE.total_seconds():
        state: State = "bad" if age > TOO_OLD.total_seconds() or since is None else "warn"
        words = (
            f"PostgreSQL's last proven restore point is {duration(age)} old."
            if since is not None
            else "PostgreSQL has no proven restore point."
        )
        concerns.append(Concern(state, words, url, "Show the backups"))
    bad = sum(count for name, count in values.items() if name.startswith("bad:"))
    if bad:
        words = "1 copy is bad and no longer counts."
        if bad > 1:
            words = f"{bad:,.0f} copies are bad and no longer count."
        concerns.append(Concern("warn", words, f"{url}?state=bad", "Show them"))
    if failures := values.get(f"failures:{Source.POSTGRES}"):
        runs = "The last backup" if failures == 1 else f"The last {failures:,.0f} backups"
        concerns.append(Concern("warn", f"{runs} of PostgreSQL failed.", f"{url}?state=failed", "Show why"))
    well = f"the last proven restore point is {duration(age)} old" if since is not None else ""
    return Outlook(tuple(concerns), well)


def _half_done() -> list[str]:
    """Restores that nobody brought to an end, in sentences."""
    try:
        left = [] if recovery.is_busy() else recovery.unsettled()
    except OSError as error:
        where = error.filename or "ARC_BACKUP_DIR"
        why = f"{where} cannot be read: {error.strerror or error}."
        return [f"Whether a restore was left half done is not known. {why}"]
    return [f"Half done, and not settled: {one}." for one in left]


register_watch(Watch("backups", SEE, "backups", look, order=15))
register_panel(
    Panel("backups", "Backups", "overview", SEE, backups_card, order=75, refresh=30, url_name="admin:backups")
)
