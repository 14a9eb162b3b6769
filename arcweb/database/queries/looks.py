"""What the statements add to the verdict of the overview."""

from __future__ import annotations

from arcweb.database.findings import Look, register_look
from arcweb.database.queries.findings import find

register_look(Look("queries", "Statements", find, "admin:database_queries", order=30))
