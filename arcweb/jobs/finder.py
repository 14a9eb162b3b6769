"""Jobs for the command palette."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from arcweb import keyset
from arcweb.jobs.models import Job
from arcweb.registry import Found


def find(user: Any, text: str, most: int) -> list[Found]:
    """The job of that id, else jobs that hold the text, among the newest; those that the user may see."""
    jobs = Job.objects.visible_to(user)
    try:
        keys = [UUID(text)]
    except ValueError:
        page = keyset.Order(Job, "created_at").walk(jobs, Job.objects.named(text), most)
        keys = [key.pk for key in page.keys]
    rows = {job.pk: job for job in jobs.filter(pk__in=keys).light()}
    return [
        Found(str(rows[key]), rows[key].get_absolute_url(), rows[key].get_state_display())
        for key in keys
        if key in rows
    ]
