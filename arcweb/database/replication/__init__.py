"""Replicas, the WAL that is kept for them, and whether lists and search are read from one."""
