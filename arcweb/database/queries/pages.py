"""Registers the pages of statements."""

from __future__ import annotations

from django.urls import register_converter

from arcweb.database.queries import looks, views  # noqa: F401 - looks register themselves
from arcweb.registry import Page, register_page, register_shortcut

SEE = "database.view_server"


class QueryId:
    """A queryid is a signed number of 64 bits."""

    regex = r"-?\d{1,19}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError(value)
        return number

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(QueryId, "queryid")
register_page(
    Page("postgres/queries/", views.query_list, "database_queries", "Queries", "PostgreSQL", SEE, order=30)
)
for _path, _view, _name, _title, _permission in (
    ("<queryid:queryid>/", views.query_page, "database_query", "Statement", SEE),
    (
        "explain/",
        views.explain_page,
        "database_explain",
        "Explain a statement",
        "database.explain_statement",
    ),
    ("reset/", views.query_reset, "database_queries_reset", "Reset the statistics", "database.maintain"),
):
    register_page(
        Page(f"postgres/queries/{_path}", _view, _name, _title, "PostgreSQL", _permission, listed=False)
    )
register_shortcut("database_explain")
register_shortcut("database_queries_reset", "Reset the statistics of queries")
