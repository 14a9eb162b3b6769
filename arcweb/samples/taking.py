"""Taking the samples, and forgetting old ones."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.db import connection

from arcweb.postgres import limited
from arcweb.samples.registry import Sampler, samplers
from arcweb.samples.slots import SLOT

logger = logging.getLogger(__name__)

KEEP = """
    INSERT INTO samples_sample (source, taken_at, read_at, values)
    SELECT %s, date_bin(make_interval(secs => %s), clock, 'epoch'), clock, %s::jsonb
    FROM statement_timestamp() AS clock
    ON CONFLICT (source, taken_at) DO NOTHING
"""
FORGET = "DELETE FROM samples_sample WHERE taken_at < statement_timestamp() - make_interval(days => %s)"


def take_samples() -> dict[str, bool]:
    """One sample of every source for the present slot; source → whether a row was written.

    False: another beat was first, or the source failed, which is logged and leaves a gap in that source
    alone.
    """
    return {sampler.source: _take(sampler) for sampler in samplers()}


def _take(sampler: Sampler) -> bool:
    limit: AbstractContextManager[object] = (
        limited(sampler.limit) if "postgres" in sampler.needs else nullcontext()
    )
    try:
        with limit:
            values = _numbers(sampler.take())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other sources are still to be taken
        logger.warning("No sample of %s: %s: %s", sampler.source, type(error).__name__, error)
        return False
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [sampler.source, SLOT, json.dumps(values)])
        return cursor.rowcount == 1


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    """Whole numbers without their ".0"; what is no finite number is left out, as JSON has no word for it."""
    return {
        name: int(number) if float(number).is_integer() else round(float(number), 3)
        for name, number in values.items()
        if math.isfinite(number)
    }


def forget_old() -> int:
    """Delete samples older than ARC_SAMPLE_DAYS; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [settings.ARC_SAMPLE_DAYS])
        return int(cursor.rowcount)
