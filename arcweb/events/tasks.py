"""Scheduled work of the event record and of alerts."""

from arcweb.celery import app
from arcweb.events import partitions


@app.task(name="arcweb.events.tasks.ensure_partitions", ignore_result=True)
def ensure_partitions() -> None:
    partitions.ensure()


@app.task(name="arcweb.events.tasks.evaluate_alarms", ignore_result=True)
def evaluate_alarms() -> None:
    from arcweb.events.alerts import evaluation

    evaluation.evaluate()


@app.task(name="arcweb.events.tasks.forget_old_alerts", ignore_result=True)
def forget_old_alerts() -> None:
    from arcweb.events.models import Alert

    Alert.objects.forget_old()
