"""ARC Web: the browser admin for a stack of AI agents on one PostgreSQL and one Redis."""

from arcweb.celery import app as celery_app

__all__ = ["celery_app"]
