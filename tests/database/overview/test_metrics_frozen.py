"""/metrics answers in time while PostgreSQL is frozen, with what does not need it."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from arcweb.postgres import base
from tests.database.overview.conftest import Own
from tests.servers.frozen import frozen, whole
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("overview-server")


@pytest.mark.parametrize("patience", [1])
def test_a_scrape_while_postgresql_is_frozen(
    own: Own, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "DOUBT_AFTER", 60)  # seconds that a statement without a limit waits
    settings.ARC_METRICS_TOKEN = "a-token-of-the-tests-2026"
    headers = {"Authorization": "Bearer a-token-of-the-tests-2026"}
    well = 'arc_metrics_source_up{source="samples"} 1.0'
    until(lambda: well in Client().get("/metrics", headers=headers).text)
    with frozen(whole(own.stack.postgres.process())):
        began = time.monotonic()
        response = Client().get("/metrics", headers=headers)
        assert time.monotonic() - began < 45
    assert response.status_code == 200
    assert 'arc_metrics_source_up{source="samples"} 0.0' in response.text
    assert "arc_postgres_connections" not in response.text
    assert "django_http_requests_before_middlewares_total" in response.text
