"""Makes Django's flush empty schema-qualified and append-only tables too.

Django compares db_table with the bare names in the catalog, so '"agents"."agents"' is never flushed and
its rows would leak from one TransactionTestCase or browser test into the next. And append-only tables
refuse TRUNCATE by trigger, which their owner may switch off for the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.backends.postgresql.introspection import DatabaseIntrospection
from django.db.backends.postgresql.operations import DatabaseOperations

EXISTING = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL"
#: Triggers that fire on TRUNCATE (bit 5 of tgtype).
TRUNCATE_TRIGGERS = """
    SELECT format('ALTER TABLE %s {action} TRIGGER %I', tgrelid::regclass, tgname)
    FROM pg_trigger WHERE tgtype & 32 <> 0 AND NOT tgisinternal
"""


def qualified_tables(connection: Any) -> list[str]:
    """The existing tables of models whose db_table names a schema, quoted."""
    tables = sorted({model._meta.db_table for model in apps.get_models() if '"."' in model._meta.db_table})
    with connection.cursor() as cursor:
        cursor.execute(EXISTING, [tables])
        return [name for (name,) in cursor.fetchall()]


def install() -> None:
    """Patches Django's PostgreSQL backend of this process."""
    original_names = DatabaseIntrospection.django_table_names
    original_flush: Callable[..., None] = DatabaseOperations.execute_sql_flush

    def django_table_names(self: Any, only_existing: bool = False, include_views: bool = True) -> list[str]:
        names: list[str] = original_names(self, only_existing, include_views)
        if only_existing and not include_views:  # what flush asks
            names = [*names, *(table for table in qualified_tables(self.connection) if table not in names)]
        return names

    def execute_sql_flush(self: Any, sql_list: Iterable[str]) -> None:
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute(TRUNCATE_TRIGGERS.replace("{action}", "DISABLE"))
            disable = [statement for (statement,) in cursor.fetchall()]
            for statement in disable:
                cursor.execute(statement)
            original_flush(self, sql_list)
            for statement in disable:
                cursor.execute(statement.replace(" DISABLE TRIGGER ", " ENABLE TRIGGER ", 1))

    DatabaseIntrospection.django_table_names = django_table_names  # type: ignore[method-assign]
    DatabaseOperations.execute_sql_flush = execute_sql_flush  # type: ignore[method-assign]
