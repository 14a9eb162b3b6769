"""The addresses of tables and indexes."""

from __future__ import annotations

from arcweb.database.storage import looks, views  # noqa: F401 - looks register themselves
from arcweb.registry import Group, Page, register_page

SEE = "database.view_server"
MAINTAIN = "database.maintain"
GROUP: Group = "PostgreSQL"

for _page in (
    Page("postgres/tables/", views.database_tables, "database_tables", "Tables", GROUP, SEE, order=40),
    Page(
        "postgres/tables/<str:schema>/<str:table>/",
        views.database_table,
        "database_table",
        "Table",
        GROUP,
        SEE,
        listed=False,
    ),
    Page("postgres/indexes/", views.database_indexes, "database_indexes", "Indexes", GROUP, SEE, order=45),
    Page(
        "postgres/maintain/",
        views.database_maintain,
        "database_maintain",
        "Maintenance",
        GROUP,
        MAINTAIN,
        listed=False,
    ),
    Page(
        "postgres/indexes/<str:schema>/<str:index>/drop/",
        views.database_index_drop,
        "database_index_drop",
        "Drop an index",
        GROUP,
        MAINTAIN,
        listed=False,
    ),
):
    register_page(_page)
