"""Scheduled work of the accounts."""

from django.contrib.sessions.backends.db import SessionStore

from arcweb.accounts import records
from arcweb.celery import app


@app.task(name="arcweb.accounts.tasks.forget_old_sessions", ignore_result=True)
def forget_old_sessions() -> None:
    records.forget_old()
    SessionStore.clear_expired()
