"""Copies of Redis and Valkey: taken as an RDB file, proven by loading it, put back on the embedded stack."""
