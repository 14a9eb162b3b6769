"""A session revoked while Redis was away stays dead when it comes back, with what it held."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from django.core.cache import caches
from django.test import override_settings

from arcweb.accounts.models import UserSession
from arcweb.accounts.sessions import SessionStore, _Health
from arcweb.embedded.stack import Stack
from tests.accounts.test_records import logged_in
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("deed", [signal.SIGSTOP, signal.SIGKILL])
def test_revoked_while_redis_is_away(
    deed: signal.Signals, throwaway_stack: Callable[..., Stack], settings: Any
) -> None:
    stack = throwaway_stack(postgres=False)
    socket = str(stack.layout.valkey_socket("cache"))
    own = {**settings.CACHES["default"], "LOCATION": stack.layout.redis_url("cache")}
    with override_settings(CACHES={"default": own}):
        ada = make_user("viewer", "ada")
        here, stolen = client_of(ada), client_of(ada)
        key = stolen.session.session_key
        pk = UserSession.objects.filter(user=ada).latest("pk").pk
        assert logged_in(stolen)
        assert "_auth_user_id" in caches["default"].get(SessionStore(key).cache_key)
        (server,) = [
            process
            for process in psutil.process_iter(["cmdline"])
            if socket in " ".join(process.info["cmdline"] or [])
        ]
        server.send_signal(deed)
        assert here.post(f"/account/sessions/{pk}/end/").status_code == 302
        assert not logged_in(stolen)
        if deed == signal.SIGSTOP:
            server.send_signal(signal.SIGCONT)
        else:
            server.wait(60)
            stack.start()
        _Health.paused_until = 0.0
        caches["default"].get("anything")
        if deed == signal.SIGSTOP:
            assert "_auth_user_id" in caches["default"].get(SessionStore(key).cache_key), "Redis still has it"
        assert stolen.get("/account/").headers["Location"].endswith("&ended=revoked")
        assert logged_in(here)
