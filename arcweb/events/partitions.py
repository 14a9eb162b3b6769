"""Monthly partitions of events.events, made ahead of time."""

from __future__ import annotations

import logging

from django.db import connections

logger = logging.getLogger(__name__)
#: If nothing made partitions for longer than this, rows wait in the default partition: slower, not lost.
MONTHS_AHEAD = 3

EXISTS = "SELECT to_regprocedure('events.ensure_partitions(integer)') IS NOT NULL"
ENSURE = "SELECT partition, created, problem FROM events.ensure_partitions(%s)"


def ensure(months_ahead: int = MONTHS_AHEAD, *, using: str = "default") -> list[str]:
    """Make the partitions of this month and the next `months_ahead`; safe to call twice and at once.

    Returns one sentence for each month that could not have its own partition, and logs it. Does
    nothing where the events migrations are not applied.
    """
    problems = []
    with connections[using].cursor() as cursor:
        cursor.execute(EXISTS)
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(ENSURE, [months_ahead])
        for partition, created, problem in cursor.fetchall():
            if created:
                logger.info("Made the partition events.%s.", partition)
            if problem:
                problems.append(problem)
                logger.warning("%s", problem)
    return problems
