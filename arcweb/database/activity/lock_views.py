"""The page Locks: who waits for whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from arcweb.database.activity import ending, locks
from arcweb.database.activity.sessions import CLIPPED
from arcweb.database.activity.views import EVERY
from arcweb.database.activity.words import lasting
from arcweb.database.parts import part
from arcweb.database.rooms import context, database_page
from arcweb.database.standing import standing

TITLE = "Locks"


@require_safe
@database_page(TITLE)
def lock_page(request: HttpRequest) -> HttpResponse:
    """The blocking trees, the longest wait first; for htmx the trees alone."""
    most = CLIPPED if request.user.has_perm("database.view_statements") else 0
    trees = part(lambda: locks.blocking(most), what="The waits for locks")
    prepared = part(locks.prepared_transactions, what="The prepared transactions")
    roots = [tree.root.session for tree in trees.value or [] if tree.root.session]
    shown: dict[str, Any] = {
        "trees": trees.value,
        "trouble": trees.trouble,
        "waiting": sum(len(tree.waiting) for tree in trees.value or []),
        "longest": max((tree.seconds for tree in trees.value or []), default=0.0),
        "long": lasting(locks.BLOCKED_LONG),
        "prepared": prepared.value,
        "prepared_trouble": prepared.trouble,
        "tried": {root.pid for root in roots if ending.was_tried(root)},
        "why_no_signal": standing().why_not("signal"),
        "why_not": standing().why_not("activity"),
        "taken": datetime.now(UTC),
        "every": EVERY,
    }
    if request.headers.get("HX-Target") == "live":
        return render(request, "admin/database/activity/_locks.html", {**shown, "fragment": True})
    return render(request, "admin/database/activity/locks.html", {**context(request, TITLE), **shown})
