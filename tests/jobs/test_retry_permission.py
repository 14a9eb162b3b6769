"""Retry starts a job once more: it takes what starting one takes, whoever may retry other jobs."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from arcweb.accounts import roles
from arcweb.events.models import Event
from arcweb.jobs import registry
from arcweb.jobs.models import Job
from arcweb.registry import registered_pages
from tests.people import client_of

pytestmark = pytest.mark.django_db

#: The page that starts jobs of that kind. "": none that asks for more than an operator has.
STARTED_BY = {
    "backup": "backups_take",
    "backup-delete": "backups_delete",
    "backup-fetch": "backups_download",
    "backup-prune": "backups_retention_run",
    "backup-receive": "backups_upload",
    "backup-restore-redis": "backups_restore_redis",
    "backup-upload": "backups_send",
    "backup-verify": "backups_verify",
    "embed": "",
    "ingest": "",
    "partition-drop": "database_partitions_drop",
    "partition-make": "database_partitions_make",
    "partition-move": "database_partitions_move",
    "postgres-analyze": "database_maintain",
    "postgres-create-index": "database_maintain",
    "postgres-drop-index": "database_index_drop",
    "postgres-reindex": "database_maintain",
    "postgres-vacuum": "database_maintain",
    "redis-save": "redis_save",
    "redis.big_keys": "redis_bigkeys",
    "redis.count_keys": "redis_delete_keys",
    "redis.delete_keys": "redis_delete_keys",
    "restore-part": "backups_restore",
    "restore-start": "backups_restore",
    "restore-time-start": "backups_time",
}
#: What is lost or replaced was typed by whoever started it.
DESTRUCTIVE = {
    "backup-delete",
    "backup-prune",
    "backup-restore-redis",
    "partition-drop",
    "postgres-drop-index",
    "redis.delete_keys",
    "restore-part",
    "restore-start",
    "restore-time-start",
}
#: Kinds that only an administrator starts.
BEYOND = [
    "backup-delete",
    "backup-prune",
    "backup-restore-redis",
    "partition-drop",
    "restore-part",
    "restore-start",
    "restore-time-start",
]


def ended(kind: str, state: Job.State = Job.State.CANCELLED) -> Job:
    return Job.objects.create(kind=kind, target="garden", state=state, finished_at=timezone.now())


def test_every_kind_names_the_permission_of_the_page_that_starts_it() -> None:
    pages = {page.name: page.permission for page in registered_pages()}
    assert {known.kind for known in registry.handlers()} == set(STARTED_BY), "a kind nobody decided about"
    for known in registry.handlers():
        asked = pages[STARTED_BY[known.kind]] if STARTED_BY[known.kind] else ""
        if known.kind in DESTRUCTIVE or (asked and not roles.has("operator", asked)):
            assert known.permission == asked != "", known.kind
        else:
            assert known.permission in ("", asked), known.kind


@pytest.mark.parametrize("kind", BEYOND)
def test_an_operator_does_not_start_again_what_an_administrator_cancelled(kind: str) -> None:
    job, plain = ended(kind), ended("embed", Job.State.FAILED)
    retry, other = (reverse("admin:jobs_job_retry", args=[one.pk]) for one in (job, plain))
    operator = client_of("operator")
    listed = operator.get("/jobs/job/").content.decode()
    assert retry not in listed
    assert f'formaction="{other}"' in listed
    assert retry not in operator.get(job.get_absolute_url()).content.decode()
    assert f'action="{other}"' in operator.get(plain.get_absolute_url()).content.decode()
    refused = operator.post(retry)
    assert refused.status_code == 403
    assert "takes the same permission as to start one" in refused.content.decode()
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert not Event.objects.filter(kind="job.retried").exists()

    administrator = client_of("administrator")
    assert f'formaction="{retry}"' in administrator.get("/jobs/job/").content.decode()
    assert f'action="{retry}"' in administrator.get(job.get_absolute_url()).content.decode()
    assert administrator.post(retry).status_code == 302
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED
