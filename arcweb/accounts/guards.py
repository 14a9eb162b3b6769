"""What must not be done to accounts, however permitted: the last superuser stays, and one's own account."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import User


def last_superuser(*users: User) -> bool:
    """Whether nobody but these is an active superuser; locks the rows, so that two cannot both leave."""
    rows = User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk")
    return {user.pk for user in rows} <= {user.pk for user in users}


def why_not_delete(users: Iterable[User], acting: User) -> list[str]:
    """Sentences on why these may not be deleted by `acting`, inside a transaction; none: they may."""
    users = list(users)
    said = []
    if any(user.pk == acting.pk for user in users):
        said.append(f"{acting}: this is your own account; somebody else must delete it.")
    supers = [user for user in users if user.is_superuser]
    if supers and not acting.is_superuser:
        said += [f"{user}: only a superuser may delete a superuser." for user in supers]
    elif supers and last_superuser(*supers):
        said.append(f"{supers[0]}: the last active superuser must stay.")
    return said
