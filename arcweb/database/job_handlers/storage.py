"""The handlers of maintenance: one for each command, so that the list of jobs tells them apart."""

from __future__ import annotations

from typing import Any

from arcweb.database.storage import maintenance
from arcweb.jobs.context import JobContext
from arcweb.jobs.registry import handler


@handler("postgres-vacuum", label="Vacuum table", unit="pages", max_attempts=5)
def run_vacuum(context: JobContext) -> dict[str, Any]:
    return maintenance.run(context)


@handler("postgres-analyze", label="Analyze table", unit="pages", max_attempts=5)
def run_analyze(context: JobContext) -> dict[str, Any]:
    return maintenance.run(context)


@handler("postgres-reindex", label="Rebuild index", unit="pages", max_attempts=5)
def run_reindex(context: JobContext) -> dict[str, Any]:
    return maintenance.run(context)


@handler("postgres-drop-index", label="Drop index", max_attempts=5, permission="database.maintain")
def run_drop_index(context: JobContext) -> dict[str, Any]:
    return maintenance.run(context)


@handler("postgres-create-index", label="Create index", unit="pages", max_attempts=5)
def run_create_index(context: JobContext) -> dict[str, Any]:
    return maintenance.run(context)
