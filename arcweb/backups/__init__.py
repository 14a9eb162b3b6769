"""Backups of PostgreSQL and Redis: taken, proven by restoring, kept by policy, restored."""
