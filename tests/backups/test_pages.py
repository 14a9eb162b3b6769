"""The list of copies and the page of one: what is proven is told from what is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from agents.models import Agent
from arcweb.backups.models import Backup
from arcweb.backups.standing import standings
from arcweb.jobs.models import Job
from tests.backups.copies import copy
from tests.people import client_of

pytestmark = pytest.mark.django_db
LIST = "/backups/"


def stand(source: str = "postgres") -> Any:
    return next(one for one in standings() if one.source == source)


def test_without_a_copy_the_page_says_what_to_do() -> None:
    page = client_of("operator").get(LIST).content.decode()
    assert "PostgreSQL has no copy. Take a backup." in page
    assert "Take the first one" in page
    assert "Take the first one" not in client_of("viewer").get(LIST).content.decode()


def test_the_headline_is_the_newest_proven_restore_point() -> None:
    copy(age=timedelta(hours=9))
    copy(age=timedelta(hours=3))
    copy("hashed", timedelta(minutes=5))
    page = client_of("viewer").get(LIST).content.decode()
    assert "Last proven restore point of PostgreSQL: 3 h ago." in page
    assert "3, 2 proven" in page
    assert stand().state == "good"
    assert (stand().copies, stand().proven) == (3, 2)


def test_a_part_is_no_restore_point_of_the_whole() -> None:
    copy(age=timedelta(hours=30))
    copy(age=timedelta(hours=1), scope={"schema": "agents"})
    assert stand().ago == "1 d 6 h ago"


def test_the_headline_is_there_whatever_else_is_wrong() -> None:
    copy(age=timedelta(hours=3))
    copy("hashed", source="redis-state", format="rdb")
    page = client_of("viewer").get(LIST).content.decode()
    assert "Last proven restore point of PostgreSQL: 3 h ago. Redis state has 1 copy, none proven" in page


@pytest.mark.parametrize(
    ("hours", "state", "word"), [(25, "good", "Proven"), (27, "warn", "Old"), (51, "bad", "Old")]
)
def test_an_old_restore_point_is_not_green(hours: int, state: str, word: str) -> None:
    copy(age=timedelta(hours=hours))
    assert (stand().state, stand().word) == (state, word)


def test_copies_that_nobody_restored_are_not_green() -> None:
    copy("hashed")
    copy("written")
    assert (stand().state, stand().word) == ("warn", "Not proven")
    assert "2 copies, none proven" in stand().sentence


def test_failures_since_the_last_copy_are_told_with_their_words() -> None:
    copy("failed", timedelta(hours=9), trouble="An old story.")
    copy(age=timedelta(hours=3))
    assert stand().failures == 0
    copy("failed", timedelta(hours=1), trouble="pg_dump ended with code 1: no such host")
    assert (stand().state, stand().failures) == ("warn", 1)
    assert "The last run failed: pg_dump ended with code 1: no such host" in stand().sentence


def test_a_bad_copy_does_not_count() -> None:
    copy("bad", timedelta(hours=1))
    assert (stand().state, stand().age) == ("bad", None)
    copy(age=timedelta(hours=4))
    assert stand().state == "warn"
    assert "1 copy is bad and no longer counts." in stand().sentence


def test_the_list_is_chosen_from_and_paged(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for hours in range(35):
        copy(age=timedelta(hours=hours + 1))
    copy("bad", source="redis-state", format="rdb")
    client = client_of("viewer")
    page = client.get(LIST).content.decode()
    assert page.count('<th scope="row"') == 30
    assert 'rel="next"' in page
    assert client.get(f"{LIST}?state=bad").content.decode().count('<th scope="row"') == 1
    assert (
        client.get(f"{LIST}?source=redis-state&state=proven").content.decode().count('<th scope="row"') == 0
    )
    nonsense = client.get(f"{LIST}?source=nonsense&state=nonsense&older=nonsense").content.decode()
    assert nonsense.count('<th scope="row"') == 30, "as if nothing were chosen"

    with django_assert_num_queries(FewOrMany.of(client)):
        client.get(LIST)


class FewOrMany:
    """The list's queries, counted while there is one copy."""

    @staticmethod
    def of(client: Any) -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        kept = list(Backup.objects.all())
        Backup.objects.exclude(pk=kept[0].pk).delete()
        client.get(LIST)
        with CaptureQueriesContext(connection) as few:
            client.get(LIST)
        Backup.objects.bulk_create([one for one in kept if one.pk != kept[0].pk])
        return len(few)


def test_the_page_of_a_copy_shows_the_ladder_and_what_the_last_check_said() -> None:
    one = copy(
        check_result={
            "ok": True,
            "seconds": 2.5,
            "steps": [{"name": "Tables", "ok": True, "sentence": "41 alike."}],
        },
        verify_seconds=2.5,
    )
    page = client_of("viewer").get(f"{LIST}{one.pk}/").content.decode()
    for words in (
        "Written",
        "Hashed",
        "Proven",
        "Restored and compared",
        "41 alike.",
        "agents.agents",
        one.file,
    ):
        assert words in page
    assert "Prove again" not in page
    assert "Prove again" in client_of("operator").get(f"{LIST}{one.pk}/").content.decode()


def test_what_was_never_restored_says_so() -> None:
    page = client_of("viewer").get(f"{LIST}{copy('hashed').pk}/").content.decode()
    assert "nobody has restored it" in page
    assert "Never restored" in page


def test_taking_asks_for_one_job_however_often_it_is_clicked() -> None:
    client = client_of("operator")
    for _ in range(2):
        assert client.post(f"{LIST}take/", {"kind": "schema", "verify": "on"}).status_code == 302
    job = Job.objects.get(kind="backup")
    assert job.params["scope"] == {"schema": "agents"}
    assert job.params["verify"] is True


def test_what_is_missing_or_wrong_in_the_form_is_said() -> None:
    client = client_of("operator")
    nobody = client.post(f"{LIST}take/", {"kind": "agent"}).content.decode()
    assert "Say which agent, by its name or its id." in nobody
    wrong = client.post(f"{LIST}take/", {"kind": "agent", "agent": "x"}).content.decode()
    assert "There is no agent with this name or id: x." in wrong
    for _ in range(2):
        Agent.objects.create(name="twin", type="assistant")
    several = client.post(f"{LIST}take/", {"kind": "agent", "agent": "twin"}).content.decode()
    assert "Several agents are called &#x27;twin&#x27;: give the id of one" in several
    assert client.post(f"{LIST}take/", {"kind": "everything"}).status_code == 200
    assert not Job.objects.filter(kind="backup").exists()


def test_an_agent_is_chosen_by_name_or_id() -> None:
    client, agent = client_of("operator"), Agent.objects.create(name="the only one", type="assistant")
    for said in (agent.name, str(agent.pk)):
        assert client.post(f"{LIST}take/", {"kind": "agent", "agent": said}).status_code == 302
    assert Job.objects.get(kind="backup").params["scope"] == {"agent": str(agent.pk)}


def test_verifying_asks_for_one_job_and_only_where_there_is_a_copy() -> None:
    client, one = client_of("operator"), copy("hashed")
    for _ in range(2):
        assert client.post(f"{LIST}{one.pk}/verify/").status_code == 302
    assert Job.objects.get(kind="backup-verify").params == {"backup": str(one.pk)}
    assert client.post(f"{LIST}{copy('failed').pk}/verify/").status_code == 404


def test_viewers_see_and_touch_nothing() -> None:
    client, one = client_of("viewer"), copy()
    for address in (f"{LIST}take/", f"{LIST}scan/", f"{LIST}{one.pk}/verify/"):
        assert client.post(address, {"kind": "database"}).status_code == 403
    assert client_of().get(LIST).status_code == 403
    assert not Job.objects.exists()
    seen, all_of_it = (
        client_of(role).get(f"{LIST}{one.pk}/").content.decode() for role in ("viewer", "administrator")
    )
    for doing in ("download", "pin", "delete", "restore"):
        address = f'href="{LIST}{one.pk}/{doing}/"'
        assert address not in seen
        assert address in all_of_it


def test_a_folder_that_is_not_mounted_loses_no_copy(settings: Any, tmp_path: Path) -> None:
    settings.ARC_BACKUP_DIR = tmp_path
    for age in (1, 2):
        copy(age=timedelta(days=age), local=True)
    page = client_of("operator").post(f"{LIST}scan/", follow=True).content.decode()
    assert "holds no copy at all, and 2 are known to be there" in page
    assert Backup.objects.filter(state="verified", local=True).count() == 2
