"""People for tests: users of a role, and browsers in which they are logged in."""

from __future__ import annotations

import itertools

from django.contrib.auth.models import Group, User
from django.test import Client

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def make_user(role: str = "", name: str = "", *, password: str | None = None) -> User:
    """A user of that role ("viewer", "operator", "administrator", "superuser"; "" has no permission)."""
    name = name or f"{role or 'nobody'}-{next(_numbers)}"
    if role == "superuser":
        return User.objects.create_superuser(name, password=password)
    user = User.objects.create_user(name, password=password)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


def client_of(who: str | User = "") -> Client:
    """A browser in which that user, or a new user of that role, is logged in."""
    client = Client()
    client.force_login(who if isinstance(who, User) else make_user(who))
    return client
