"""The job ledger: whatever takes longer than a request is a row in PostgreSQL; Celery only executes."""
