"""A transactional test leaves no row in schema-qualified tables."""

import pytest
from django.apps import apps
from django.db import connection


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_rows_of_schema_qualified_tables_do_not_leak(turn: str) -> None:
    agent = apps.get_model("agents", "Agent")
    assert '"."' in agent._meta.db_table
    assert agent.objects.count() == 0, f"the {turn} test found rows of the one before"
    agent.objects.create(name="left behind", type="assistant")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'")
        assert cursor.fetchone() == (0,)
