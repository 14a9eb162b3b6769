"""Alarms of the memories' vectors, from the samples that are taken anyway."""

from __future__ import annotations

from arcweb.alarms import Alarm, Reading, Unknown, register_alarm
from arcweb.samples.series import newest


def _sample() -> dict[str, float]:
    reading = newest(["memories"]).get("memories")
    if reading is None or reading.stale:
        raise Unknown("There is no fresh figure of the memories.")
    return reading.values


def failed() -> Reading:
    """Memories that could not be embedded."""
    count = _sample().get("failed", 0)
    if not count:
        return Reading(0, "No memory failed to embed.")
    what = "1 memory" if count == 1 else f"{count:,.0f} memories"
    return Reading(
        count,
        f"{what} failed to embed, and search by meaning misses {'it' if count == 1 else 'them'}: the list of "
        "memories says why, and has them embedded again.",
    )


def waiting() -> Reading:
    """Memories without a vector of their present content, that are to get one."""
    values = _sample()
    count = values.get("pending", 0) + values.get("stale", 0)
    return Reading(
        count,
        f"{count:,.0f} memories wait for a vector: the worker's log and the provider's state say what keeps "
        "them. Search finds them by keyword meanwhile."
        if count
        else "No memory waits for a vector.",
    )


SEE, LIST = "memories.view_memory", "admin:memories_memory_changelist"
register_alarm(
    Alarm(
        "memories.failed",
        "Memories failed to embed",
        "Memories",
        failed,
        "memories",
        1,
        "A memory fails only after several tries, so that one is enough to look.",
        permission=SEE,
        url_name=LIST,
    )
)
register_alarm(
    Alarm(
        "memories.waiting",
        "Memories wait for vectors",
        "Memories",
        waiting,
        "memories",
        1000,
        "The local model embeds about 18 chunks a second on two cores: 1,000 that stay for 15 minutes mean "
        "that it stands still or cannot keep up.",
        lasting=900,
        permission=SEE,
        url_name=LIST,
    )
)
