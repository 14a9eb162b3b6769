"""Restoring a PostgreSQL copy: into a new database, compared, confirmed, then exchanged by renames.

`journal` keeps what a restore does outside of the database that it replaces; in a process of its own,
`preparing` does it up to the confirmation and `finishing` from there on. `exchange` holds the one moment that
counts, and `recovery` finishes or undoes what a killed process left. Live data is never written to: the new
database becomes live, or it does not.
"""
