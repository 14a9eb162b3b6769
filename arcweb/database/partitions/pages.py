"""The pages of partitions."""

from __future__ import annotations

from arcweb.database.partitions import dropping as dropping  # whose events the web tells, too
from arcweb.database.partitions import views
from arcweb.registry import Group, Page, register_page, register_shortcut

SEE = "database.view_server"
_group: Group = "PostgreSQL"

register_page(
    Page("postgres/partitions/", views.partitions, "database_partitions", "Partitions", _group, SEE, order=60)
)
for _name, _view, _title in (
    ("make", views.make, "Make partitions"),
    ("move", views.move, "Empty the default partition"),
    ("retention", views.policy, "Keep events"),
    ("drop", views.drop, "Drop a month"),
):
    register_page(
        Page(
            f"postgres/partitions/{_name}/",
            _view,
            f"database_partitions_{_name}",
            _title,
            _group,
            views.CHANGE,
            listed=False,
        )
    )
register_shortcut("database_partitions_retention", "Retention of events")
