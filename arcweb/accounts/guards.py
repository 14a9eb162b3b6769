"""What must not be done to accounts, however permitted.

The last superuser stays, and one's own account; and nobody gets more by changing people than he has.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Permission, User
from django.db.models import Q, QuerySet


def lacking(acting: User) -> QuerySet[Permission]:
    """The permissions that `acting` does not have (no query yet); a superuser lacks none."""
    if acting.is_superuser:
        return Permission.objects.none()
    return Permission.objects.exclude(
        pk__in=Permission.objects.filter(Q(group__user=acting) | Q(user=acting))
    )


def stronger(users: Iterable[User], acting: User) -> list[User]:
    """Those of `users` who may do what `acting` may not, or could if they were active (one query)."""
    keys = [user.pk for user in users]
    if acting.is_superuser or not keys:
        return []
    beyond = lacking(acting)
    more = Q(is_superuser=True) | Q(groups__permissions__in=beyond) | Q(user_permissions__in=beyond)
    return list(User.objects.filter(more, pk__in=keys).distinct().order_by("pk"))


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
    said += [
        f"{user}: may do more than you; somebody who may do as much must delete it."
        for user in stronger(users, acting)
    ]
    supers = [user for user in users if user.is_superuser]
    if supers and last_superuser(*supers):
        said.append(f"{supers[0]}: the last active superuser must stay.")
    return said
