"""The jobs list and the page of a job."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from arcweb.events.models import Event
from arcweb.jobs.models import Job
from tests.jobs.conftest import Broker

pytestmark = pytest.mark.django_db
State = Job.State
LIST = "/jobs/job/"
Login = Callable[..., Client]


@pytest.fixture
def login(client: Client) -> Login:
    def as_one_who_may(*codenames: str) -> Client:
        user = User.objects.create_user("operator", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return as_one_who_may


def make(state: State = State.QUEUED, **values: Any) -> Job:
    now = timezone.now()
    if state == State.RUNNING:
        values = {
            "claim": uuid.uuid4(),
            "heartbeat_at": now,
            "started_at": now,
            "progressed_at": now,
            **values,
        }
    elif state != State.QUEUED:
        values = {"finished_at": now, **values}
    return Job.objects.create(**{"kind": "dig", "target": "garden", "state": state, **values})


def page(client: Client, job: Job, **headers: str) -> str:
    response = client.get(job.get_absolute_url(), headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_shows_filters_and_never_loads_params_or_results(login: Login) -> None:
    client = login("view_job")
    make(title="Dig a pond", done=3, unit="spades", total=9)
    make(State.FAILED, title="Dig a moat")
    both = client.get(LIST).content.decode()
    assert "3 of 9 spades" in both
    assert both.index("Dig a moat") < both.index("Dig a pond")
    failed = client.get(LIST, {"state": "failed"}).content.decode()
    assert "Dig a moat" in failed
    assert "Dig a pond" not in failed
    assert "Dig a pond" not in client.get(LIST, {"kind": "other"}).content.decode()
    assert client.get(LIST, {"q": "pond", "p": "x", "o": "99"}).status_code in (200, 302)
    result = client.get(LIST).context["cl"].result_list[0]
    assert {"params", "result"} <= result.get_deferred_fields()


def test_queries_of_the_list_do_not_grow(login: Login, django_assert_num_queries: Any) -> None:
    client = login("view_job")
    for rows in (10, 990):
        Job.objects.bulk_create(Job(kind="dig", title=f"job {number}") for number in range(rows))
        with django_assert_num_queries(5):  # user, permissions twice, rows, count
            client.get(LIST)
    Job.objects.bulk_create(Job(kind="dig", title="one more") for number in range(2))
    with django_assert_num_queries(6):  # and the estimate, beyond what is counted
        client.get(LIST)


def test_nobody_adds_changes_or_deletes_jobs_by_hand(admin_client: Client) -> None:
    job = make()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.get(f"{LIST}{job.pk}/delete/").status_code == 403
    admin_client.post(job.get_absolute_url(), {"state": "succeeded", "_save": "1"})
    job.refresh_from_db()
    assert job.state == State.QUEUED


def test_the_page_tells_what_is_known_and_nothing_more(login: Login) -> None:
    client = login("view_job")
    text = page(client, make(State.RUNNING, done=50, total=200, unit="chunks", message="embedding", rate=2.5))
    assert '<progress id="job-' in text
    assert 'max="200" value="50"' in text
    assert "50 of 200 chunks (25 %)" in text
    assert "2.5 chunks a second" in text
    assert "1 min" in text
    unknown = page(client, make(State.RUNNING, done=50, unit="chunks"))
    assert "unknown" in unknown
    assert "%)" not in unknown
    assert "max=" not in unknown[unknown.index("<progress") : unknown.index("</progress>")]
    failed = page(client, make(State.FAILED, last_error="<b>The spade broke.</b>"))
    assert "&lt;b&gt;The spade broke." in failed
    succeeded = page(client, make(State.SUCCEEDED, result={"chunks": 7}))
    assert "<dt>chunks</dt>" in succeeded


def test_a_job_that_stands_still_says_why() -> None:
    now = timezone.now()
    ago = lambda seconds: now - timedelta(seconds=seconds)  # noqa: E731
    assert "handed to the workers" in make().standing
    waits = make(sent_at=ago(5), queued_at=ago(120)).standing
    assert re.search(r"Has waited 2 min( \d+ s)? for a free worker", waits)
    stands = make(State.RUNNING, progressed_at=ago(40)).standing
    assert re.search(r"No progress for [45]\d s; its worker is alive", stands)
    assert re.search(r"no sign of life for 2\d s", make(State.RUNNING, heartbeat_at=ago(20)).standing)
    assert "being stopped" in make(State.RUNNING, cancel_requested_at=ago(1)).standing
    assert make(State.RUNNING).standing == ""
    assert make(State.SUCCEEDED).standing == ""


def test_the_live_part_polls_itself_until_the_job_has_ended(login: Login) -> None:
    client = login("view_job")
    job = make(State.RUNNING)
    for text in (page(client, job), page(client, job, **{"HX-Request": "true"})):
        assert f'hx-get="{job.get_absolute_url()}" hx-trigger="every 1s" hx-swap="outerHTML"' in text
    Job.objects.update(state=State.SUCCEEDED, claim=None, finished_at=timezone.now())
    fragment = page(client, job, **{"HX-Request": "true"})
    assert "Succeeded" in fragment
    assert "hx-trigger" not in fragment
    assert "<html" not in fragment


def test_a_poll_after_the_session_ended_leads_to_the_login_page(client: Client) -> None:
    job = make(State.RUNNING)
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{job.get_absolute_url()}"}
    response = client.get(job.get_absolute_url(), headers=headers, follow=True)
    assert response.headers["HX-Redirect"] == "/login/?next=" + quote(job.get_absolute_url(), safe="")


def test_pages_need_their_permissions(login: Login, client: Client) -> None:
    client = login("view_user")
    job = make()
    assert client.get(LIST).status_code == 403
    assert client.get(job.get_absolute_url()).status_code == 403


@pytest.mark.parametrize("url", ["x", "00000000-0000-4000-8000-000000000001", "1"])
def test_an_id_of_no_job_is_not_found(admin_client: Client, url: str) -> None:
    assert admin_client.get(f"{LIST}{url}/change/").status_code == 404
    assert admin_client.post(f"{LIST}{url}/cancel/", follow=True).status_code == 404


def test_cancel_and_retry_have_buttons_permissions_and_events(login: Login, broker: Broker) -> None:
    client = login("view_job")
    job = make()
    cancel, retry = (reverse(f"admin:jobs_job_{verb}", args=[job.pk]) for verb in ("cancel", "retry"))
    assert cancel not in page(client, job)
    assert client.post(cancel).status_code == 403
    assert client.post(retry).status_code == 403

    operator = User.objects.get(username="operator")
    operator.user_permissions.add(*Permission.objects.filter(codename__in=["cancel_job", "retry_job"]))
    text = page(client, job)
    assert f'action="{cancel}"' in text
    assert retry not in text
    assert client.get(cancel).status_code == 405
    assert "is cancelled" in client.post(cancel, follow=True).content.decode()
    assert "nothing to cancel" in client.post(cancel, follow=True).content.decode()
    text = page(client, job)
    assert cancel not in text
    assert f'action="{retry}"' in text
    assert "queued again" in client.post(retry, follow=True).content.decode()
    assert "cannot be retried" in client.post(retry, follow=True).content.decode()
    kinds = Event.objects.filter(object_id=str(job.pk)).order_by("id").values_list("kind", "actor_id")
    assert list(kinds) == [("job.cancelled", str(operator.pk)), ("job.retried", str(operator.pk))]


def test_buttons_are_protected_against_forgery(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(reverse("admin:jobs_job_cancel", args=[make().pk])).status_code == 403


def test_the_list_has_the_buttons_that_are_permitted(login: Login, broker: Broker) -> None:
    client = login("view_job")
    queued, failed, done = make(title="Dig a pond"), make(State.FAILED), make(State.SUCCEEDED)
    cancel, retry = f"{LIST}{queued.pk}/cancel/", f"{LIST}{failed.pk}/retry/"
    assert "formaction" not in client.get(LIST).content.decode()
    operator = User.objects.get(username="operator")
    operator.user_permissions.add(*Permission.objects.filter(codename__in=["cancel_job", "retry_job"]))
    text = client.get(LIST).content.decode()
    assert f'formaction="{cancel}" name="back" value="list" aria-label="Cancel Dig a pond"' in text
    assert f'formaction="{retry}"' in text
    assert str(done.pk) + "/retry" not in text
    assert '<span class="state bad">Failed</span>' in text
    response = client.post(cancel, {"back": "list"}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "The job “Dig a pond” is cancelled" in response.content.decode()
    assert client.post(retry, {"back": "list"}).headers["Location"] == LIST


def test_the_newest_jobs_are_looked_through(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    from arcweb import keyset
    from arcweb.jobs.finder import find

    client = login("view_job")
    operator = User.objects.get(username="operator")
    wanted = make(title="Dig a Pond")
    make(target="pond house")
    make(title="Dig a moat")
    text = client.get(LIST, {"q": "pond"}).content.decode()
    assert "Dig a Pond" in text
    assert "pond house" in text
    assert "Dig a moat" not in text
    assert "were read for this page" not in text
    assert [found.title for found in find(operator, "pond", 5)][1] == "Dig a Pond"
    assert [found.title for found in find(operator, str(wanted.pk), 5)] == ["Dig a Pond"]
    assert find(User.objects.create_user("nobody"), "pond", 5) == []
    monkeypatch.setattr(keyset.Order.walk, "__kwdefaults__", {"after": None, "before": None, "read": 2})
    text = client.get(LIST, {"q": "pond"}).content.decode()
    assert "2 jobs were read for this page" in text
    assert "Dig a Pond" not in text
    older = text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "Dig a Pond" in client.get(LIST + older).content.decode()


def test_facts_show_what_was_asked_for_and_nothing_empty(login: Login) -> None:
    shown = page(login("view_job"), make(params={"depth": 0, "deep": False, "scope": {}, "schedule": None}))
    assert '<dt>depth</dt><dd class="mono">0</dd>' in shown
    assert '<dt>deep</dt><dd class="mono">False</dd>' in shown
    assert "<dt>scope</dt>" not in shown
    assert "<dt>schedule</dt>" not in shown
