"""Scheduled work of the event record and of alerts."""

from arcweb.celery import app
from arcweb.events import partitions


@app.task(name="arcweb.events.tasks.ensure_partitions", ignore_result=True)
def ensure_partitions() -> None:
    partitions.ensure()


@app.task(name="arcweb.events.tasks.evaluate_alarms", ignore_result=True)
def evaluate_alarms() -> None:
    from arcweb.events.alerts import evaluation
    from arcweb.events.models import Delivery

    evaluation.evaluate()
    if Delivery.objects.due().exists():
        send_alerts.apply_async(expires=60)


@app.task(name="arcweb.events.tasks.send_alerts", ignore_result=True)
def send_alerts() -> None:
    from arcweb.events.alerts import sending

    sending.send_due()


@app.task(name="arcweb.events.tasks.forget_old_alerts", ignore_result=True)
def forget_old_alerts() -> None:
    from arcweb.events.models import Alert

    Alert.objects.forget_old()
