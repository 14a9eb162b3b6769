"""The page of retention, and deleting and pinning one copy, as people with different permissions do it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.backups.keeping import deletion
from arcweb.backups.keeping.changing import set_policy
from arcweb.backups.models import Backup, Retention
from arcweb.backups.retention import Policy
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from arcweb.seen import ChangedMeanwhile
from tests.backups.made import make_copy, on_disk
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]
PAGE = "/backups/retention/"
FIVE = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}


@pytest.fixture
def admin(db: None) -> Client:
    return client_of("administrator")


def text(answer: object) -> str:
    return " ".join(answer.content.decode().split())  # type: ignore[attr-defined]


def seen(client: Client) -> str:
    """What the form carries of the policy that it shows."""
    found = client.get(PAGE).context["form"]
    return str(found["seen"].value())


def test_the_page_says_what_goes_what_stays_and_why(admin: Client) -> None:
    Retention.objects.create(**FIVE)
    for days in range(3):
        make_copy(days=days)
    page = text(admin.get(PAGE))
    assert "1 would go" in page
    assert "the last proven copy; one of the last 2" in page
    assert "no rule keeps it" in page
    assert "<kbd>delete 1 copy</kbd>" in page


def test_a_policy_is_previewed_before_it_is_set(admin: Client) -> None:
    for days in range(4):
        make_copy(days=days)
    assert "Nothing goes" in text(admin.get(PAGE))
    answer = admin.post(PAGE, {**FIVE, "seen": seen(admin), "preview": "yes", "csrfmiddlewaretoken": "x"})
    assert answer.status_code == 302
    assert "csrf" not in answer.headers["Location"]
    page = text(admin.get(answer.headers["Location"]))
    assert "2 would go" in page
    assert "which is not set yet" in page
    assert "Delete them now" not in page  # what is deleted is what is set
    assert not Retention.objects.exists()
    answer = admin.post(PAGE, {**FIVE, "seen": seen(admin)}, follow=True)
    assert "Kept from now on: last 2, daily 0" in text(answer)
    assert Retention.objects.get().last == 2
    event = Event.objects.get(kind="retention.changed")
    assert event.data["before"] == "last 7, daily 7, weekly 4, monthly 12, yearly 3"
    assert len(on_disk()) == 8  # nothing was deleted by that
    assert "which is not set yet" not in text(admin.get(PAGE, {**FIVE})), "it is set"


def test_a_policy_that_changes_between_the_look_and_the_lock_stays(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {**FIVE, "seen": seen(admin)}

    def late(new: Policy, *, seen: Policy) -> None:
        Retention.objects.update(last=30)
        set_policy(new, seen=seen)

    monkeypatch.setattr("arcweb.backups.keeping.views.set_policy", late)
    Retention.objects.create()
    answer = admin.post(PAGE, form, follow=True)
    assert "Somebody changed the policy in this moment: look at it again." in text(answer)
    assert Retention.objects.get().last == 30


@pytest.mark.parametrize(
    ("field", "value"), [("last", "0"), ("daily", "-1"), ("weekly", "x"), ("yearly", "401")]
)
def test_nonsense_is_refused_at_its_field(admin: Client, field: str, value: str) -> None:
    answer = admin.post(PAGE, {**FIVE, field: value, "seen": seen(admin)})
    assert answer.status_code == 400
    assert answer.context["form"].errors[field]
    assert not Retention.objects.exists()
    assert admin.get(PAGE, {**FIVE, field: value}).status_code == 200


def test_a_policy_that_somebody_else_changed_meanwhile_is_not_overwritten_unseen(admin: Client) -> None:
    then = seen(admin)
    Retention.objects.create(last=30)
    answer = admin.post(PAGE, {**FIVE, "seen": then})
    assert answer.status_code == 400
    assert "Somebody saved another last meanwhile: “30”" in text(answer)
    assert Retention.objects.get().last == 30


def test_a_policy_is_set_in_the_place_of_the_one_that_was_seen_alone() -> None:
    Retention.objects.create(last=30)
    with pytest.raises(ChangedMeanwhile):
        set_policy(Policy(last=1), seen=Policy(last=7))
    assert Retention.objects.get().last == 30
    assert not Event.objects.filter(kind="retention.changed").exists()
    set_policy(Policy(last=1), seen=Policy(last=30))
    assert Retention.objects.get().last == 1


def test_running_now_takes_the_typed_number_of_what_goes(admin: Client) -> None:
    Retention.objects.create(**FIVE)
    copies = [make_copy(days=days) for days in range(4)]
    assert "Delete them now" in text(admin.get(PAGE))
    assert "Delete them now" not in text(client_of("viewer").get(PAGE))
    answer = admin.post(f"{PAGE}run/", {"typed": "delete 1 copy"}, follow=True)
    assert "Nothing was deleted: to confirm, type delete 2 copies" in text(answer)
    assert not Job.objects.exists()
    answer = admin.post(f"{PAGE}run/", {"typed": "delete 2 copies"})
    job = Job.objects.get(kind="backup-prune")
    assert answer.headers["Location"] == f"/jobs/job/{job.pk}/change/"
    asked = Event.objects.get(kind="retention.run_asked").data
    assert (asked["copies"], asked["bytes"]) == (2, sum(one.bytes or 0 for one in copies[2:]))
    assert admin.get(PAGE).context["active"] == job


def test_who_may_only_look_changes_nothing() -> None:
    make_copy()
    backup = make_copy(days=1)
    for role in ("viewer", "operator"):
        client = client_of(role)
        page = text(client.get(PAGE))
        assert "Keep so many" not in page
        assert client.post(PAGE, FIVE).status_code == 403
        assert client.post(f"{PAGE}run/").status_code == 403
        assert client.post(f"/backups/{backup.pk}/delete/", {"typed": backup.file}).status_code == 403
    assert client_of("viewer").post(f"/backups/{backup.pk}/pin/", {"reason": "x"}).status_code == 403
    assert not Retention.objects.exists()
    assert Backup.objects.get(pk=backup.pk).state == "verified"


def test_a_copy_is_deleted_after_its_name_was_typed(admin: Client) -> None:
    make_copy()
    backup = make_copy(days=1)
    url = f"/backups/{backup.pk}/delete/"
    assert f"<kbd>{backup.file}</kbd>" in text(admin.get(url))
    answer = admin.post(url, {"typed": "yes"})
    assert answer.status_code == 409
    assert f"Nothing was deleted: type {backup.file} to confirm." in text(answer)
    assert not Job.objects.exists()
    answer = admin.post(url, {"typed": backup.file})
    assert answer.headers["Location"] == f"/jobs/job/{Job.objects.get().pk}/change/"
    assert Backup.objects.get(pk=backup.pk).state == "deleted"
    assert "deleted already" in text(admin.get(url))


def test_a_copy_that_changes_while_it_is_decided_about_stays(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_copy()
    backup = make_copy(days=1)
    monkeypatch.setattr(deletion, "claim", lambda *_: None)
    answer = admin.post(f"/backups/{backup.pk}/delete/", {"typed": backup.file})
    assert answer.status_code == 409
    assert "It was changed while it was looked at: look again." in text(answer)
    assert not Job.objects.exists()


def test_the_last_proven_copy_is_refused_in_words(admin: Client) -> None:
    backup = make_copy()
    url = f"/backups/{backup.pk}/delete/"
    page = text(admin.get(url))
    assert "It is the last proven copy of PostgreSQL" in page
    assert 'name="typed"' not in page
    assert admin.post(url, {"typed": backup.file}).status_code == 409
    assert Backup.objects.get(pk=backup.pk).state == "verified"


def test_an_operator_pins_with_a_reason_and_unpins(admin: Client) -> None:
    make_copy()
    backup = make_copy(days=1)
    url, client = f"/backups/{backup.pk}/pin/", client_of("operator")
    assert client.post(url, {"reason": " "}).status_code == 400
    answer = client.post(url, {"reason": "before the upgrade"}, follow=True)
    assert answer.redirect_chain == [(f"/backups/{backup.pk}/", 302)]
    assert "It is pinned: it stays." in text(answer)
    again = client.post(url, {"reason": "another"}, follow=True)
    assert "Nothing was changed: somebody was quicker" in text(again)
    backup.refresh_from_db()
    assert backup.pin_reason == "before the upgrade"
    assert "before the upgrade" in text(client.get(url))
    assert "It is pinned by" in text(admin.get(f"/backups/{backup.pk}/delete/"))
    assert Event.objects.get(kind="backup.pinned").object_id == str(backup.pk)
    assert "The pin is out: retention decides again." in text(client.post(url, {"unpin": "1"}, follow=True))
    backup.refresh_from_db()
    assert (backup.pinned_at, backup.pinned_by, backup.pin_reason) == (None, "", "")
    assert Event.objects.filter(kind="backup.unpinned").exists()
    gone = make_copy("deleted", days=2)
    answer = client.post(f"/backups/{gone.pk}/pin/", {"reason": "too late"}, follow=True)
    assert "Nothing was changed: somebody was quicker, or its files are gone." in text(answer)


def test_what_could_not_be_deleted_is_listed_with_its_reason(admin: Client) -> None:
    make_copy()
    make_copy("deleted", days=1, delete_trouble="The folder cannot lose it: Operation not permitted.")
    page = text(admin.get(PAGE))
    assert "1 not deleted" in page
    assert "Operation not permitted" in page
    assert "Try again now" in page
    admin.post(f"{PAGE}run/")  # nothing else goes, so that nothing is typed
    assert Job.objects.filter(kind="backup-prune").count() == 1


def test_a_folder_that_cannot_be_read_is_said(admin: Client, folder: Path, settings: object) -> None:
    (folder / "file").write_text("")
    settings.ARC_BACKUP_DIR = folder / "file"  # type: ignore[attr-defined]
    assert "cannot be listed" in text(admin.get(PAGE))
    answer = admin.post(f"{PAGE}run/", {"typed": "delete 0 copies"}, follow=True)
    assert "Nothing was deleted: " in text(answer)
    assert not Job.objects.exists()


def test_the_number_of_queries_is_the_same_for_many(admin: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert admin.get(PAGE).status_code == 200
        return len(found)

    make_copy()
    admin.get(PAGE)
    few = queries()
    for days in range(1, 25):
        make_copy(days=days, size=10)
    assert queries() == few


def test_what_is_not_listed_is_counted(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    Retention.objects.create(**{**FIVE, "last": 4})
    for days in range(7):
        make_copy(days=days)
    for days in range(8, 11):
        make_copy("deleted", days=days, delete_trouble="The disk is read only.")
    page = text(admin.get(PAGE))
    assert "not listed" not in page
    assert "every one" not in page
    monkeypatch.setattr("arcweb.backups.keeping.views.MOST", 2)
    page = text(admin.get(PAGE))
    assert "3 not deleted" in page
    assert "1 more is not listed; every run tries" in page
    assert (
        "1 more goes and is not listed here. All of them: <kbd>manage.py backup prune --dry-run</kbd>" in page
    )
    assert "The newest are listed; 2 more stay." in page
    assert page.count("The disk is read only.") == 2
