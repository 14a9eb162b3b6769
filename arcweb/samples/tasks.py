"""Scheduled work of the samples."""

from arcweb.celery import app
from arcweb.samples import taking


@app.task(name="arcweb.samples.tasks.take_samples", ignore_result=True)
def take_samples() -> None:
    taking.take_samples()


@app.task(name="arcweb.samples.tasks.forget_old_samples", ignore_result=True)
def forget_old_samples() -> None:
    taking.forget_old()
