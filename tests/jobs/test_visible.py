"""Whose jobs a person may see."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from arcweb.events import Actor
from arcweb.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", is_staff=True)


@pytest.fixture
def jobs(ada: User) -> dict[str, Job]:
    other = Actor.of_user(User.objects.create_user("bob"))
    actors = {
        "hers": Actor.of_user(ada),
        "his": other,
        "system": Actor("system", str(ada.pk)),
        "nobody": Actor.of_user(AnonymousUser()),
    }
    return {
        name: Job.objects.create(kind="dig", title=name, actor_kind=actor.kind, actor_id=actor.id)
        for name, actor in actors.items()
    }


def seen_by(user: User | AnonymousUser) -> set[str]:
    return set(Job.objects.visible_to(user).values_list("title", flat=True))


def test_without_the_permission_one_sees_what_one_started(ada: User, jobs: dict[str, Job]) -> None:
    assert seen_by(ada) == {"hers"}


def test_with_the_permission_one_sees_everything(ada: User, jobs: dict[str, Job]) -> None:
    ada.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert seen_by(User.objects.get(pk=ada.pk)) == set(jobs)


def test_a_person_who_is_not_logged_in_or_no_longer_active_sees_nothing(
    ada: User, jobs: dict[str, Job]
) -> None:
    assert seen_by(AnonymousUser()) == set()
    ada.is_active = False
    assert seen_by(ada) == set()
