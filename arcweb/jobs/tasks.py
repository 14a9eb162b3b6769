"""Celery's side of the ledger: ids in, nothing out, safe to deliver twice."""

from uuid import UUID

from arcweb.celery import app
from arcweb.jobs import ledger


@app.task(name="arcweb.jobs.tasks.run_job", acks_late=True, ignore_result=True)
def run_job(job_id: str) -> None:
    ledger.run(UUID(job_id))


@app.task(name="arcweb.jobs.tasks.reconcile", ignore_result=True)
def reconcile() -> None:
    ledger.reconcile()


@app.task(name="arcweb.jobs.tasks.forget_old_jobs", ignore_result=True)
def forget_old_jobs() -> None:
    ledger.forget_old()
