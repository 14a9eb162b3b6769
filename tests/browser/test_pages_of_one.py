"""Pages that no list of addresses holds: of one copy, statement, session or key, and those that refuse."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import SOON, Site
from tests.browser.looking import faults_of, listen

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

#: Copies of noise, which no other test shall meet: TAKE_BACK removes them.
MAKE = """
import json
from arcweb.backups.models import Schedule
from tests.backups.made import make_copy
made = {
    "copy": make_copy(days=400),
    "bad": make_copy("bad", days=401, trouble="A bit of it was flipped."),
    "redis": make_copy(days=400, source="redis-state", format_="rdb"),
}
print(json.dumps({name: str(one.pk) for name, one in made.items()}
    | {"schedule": str(Schedule.objects.first().pk), "files": [one.file for one in made.values()]}))
"""
TAKE_BACK = """
from pathlib import Path
from django.conf import settings
from arcweb.backups.manifest import manifest_name
from arcweb.backups.models import Backup
for backup in Backup.objects.filter(file__in=%r):
    for name in (backup.file, manifest_name(backup.file)):
        (Path(settings.ARC_BACKUP_DIR) / name).unlink(missing_ok=True)
    backup.delete()
"""
SESSION = """
    SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity
    WHERE backend_type = 'checkpointer'
"""
STATEMENT = """
    SELECT queryid FROM pg_stat_statements JOIN pg_database ON oid = dbid
    WHERE datname = current_database() AND query LIKE 'SELECT%agents%' ORDER BY calls DESC LIMIT 1
"""
KEY = b"walked:over"
#: name: address, and its status. Who asks is an administrator, but for what a viewer is refused.
PAGES = {
    "backup": ("/backups/{copy}/", 200),
    "backup-bad": ("/backups/{bad}/", 200),
    "backup-restore": ("/backups/{copy}/restore/", 200),
    "backup-restore-redis": ("/backups/{redis}/restore-redis/", 200),
    "backup-pin": ("/backups/{copy}/pin/", 200),
    "backup-delete": ("/backups/{bad}/delete/", 200),
    "backup-download": ("/backups/{copy}/download/", 200),
    "backup-schedule": ("/backups/schedules/{schedule}/", 200),
    "postgres-session": ("/postgres/activity/{pid}/{started}/", 200),
    "postgres-statement": ("/postgres/queries/{statement}/", 200),
    "redis-key": ("/redis/keys/{key}/?role=state", 200),
    "refused": ("/auth/user/add/", 403),
    "only-forms": ("/postgres/maintain/", 405),
    "ended": ("/login/?next=/events/&ended=idle", 200),
}


@pytest.fixture(scope="module")
def values(site: Site) -> Iterator[dict[str, Any]]:
    """What the addresses are filled with."""
    made = json.loads(site.manage("shell", "-v0", "-c", MAKE).splitlines()[-1])
    site.manage("redis_shell", "-c", f"SET {KEY.decode()} value EX 3600")
    with site.connect(autocommit=True) as connection:
        pid, started = connection.execute(SESSION).fetchone() or ("", "")
        [statement] = connection.execute(STATEMENT).fetchone() or [""]
    key = base64.urlsafe_b64encode(KEY).decode().rstrip("=")
    yield made | {"pid": pid, "started": started, "statement": statement, "key": key}
    site.manage("redis_shell", "-c", f"DEL {KEY.decode()}")
    site.manage("shell", "-v0", "-c", TAKE_BACK % (made["files"],))


@pytest.fixture(scope="module")
def cookies(browser: Browser, site: Site) -> dict[str, Any]:
    """Those of each who asks."""
    found: dict[str, Any] = {"": None}
    for name, password in (("admin", ""), ("olga", site.add_user("olga", "viewer"))):
        context = browser.new_context()
        site.log_in(context.new_page(), name, password)
        found[name] = context.storage_state()
        context.close()
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_one_thing_is_fit_to_be_shown(
    browser: Browser, site: Site, values: dict[str, Any], cookies: dict[str, Any], name: str
) -> None:
    address, status = PAGES[name]
    context = browser.new_context(
        storage_state=cookies[{"refused": "olga", "ended": ""}.get(name, "admin")],
        viewport={"width": 1280, "height": 900},
    )
    context.set_default_timeout(SOON)
    page = context.new_page()
    faults = listen(page, status)
    answer = page.goto(site.url + address.format(**values))
    assert answer is not None
    assert answer.status == status
    page.wait_for_load_state("networkidle")
    faults += faults_of(page, name)
    context.close()
    assert not faults, "\n".join(faults)
