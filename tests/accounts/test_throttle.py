"""Failed logins lock tightly an account from one address, loosely either alone."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client

from arcweb.accounts import records, throttle
from arcweb.accounts.models import LoginThrottle
from arcweb.events.models import Event, EventDetail
from tests.accounts.test_records import at_once, logged_in, sign_in
from tests.people import PASSWORD, make_user

pytestmark = pytest.mark.django_db
HERE, THERE = "192.0.2.7", "192.0.2.8"


@pytest.fixture(autouse=True)
def people(settings: Any) -> None:
    settings.ARC_LOGIN_FAILURES = 3
    make_user("viewer", "ada", password=PASSWORD)
    make_user("viewer", "bob", password=PASSWORD)


def fail(name: str, address: str | None) -> throttle.Try:
    """A failed try, without the time that a password's hash takes."""
    attempt = throttle.begin(name, address)
    if not attempt.seconds:
        throttle.failed(attempt, name)
    return attempt


def age(seconds: int) -> None:
    by = timedelta(seconds=seconds)
    LoginThrottle.objects.update(
        first_at=F("first_at") - by, last_at=F("last_at") - by, locked_until=F("locked_until") - by
    )


def words(response: Any) -> str:
    return " ".join(response.context["form"].non_field_errors())


def test_an_account_is_locked_for_one_address_and_says_for_how_long(client: Client) -> None:
    for _ in range(2):
        assert "correct username" in words(sign_in(client, password="wrong", REMOTE_ADDR=HERE))
    assert "Try again in 15 minutes" in words(sign_in(client, password="wrong", REMOTE_ADDR=HERE))
    refused = sign_in(client, REMOTE_ADDR=HERE)
    assert refused.status_code == 200
    assert "without looking at the password" in words(refused)
    assert sign_in(Client(), "bob", REMOTE_ADDR=HERE).status_code == 302
    assert sign_in(Client(), REMOTE_ADDR=THERE).status_code == 302
    age(901)
    assert sign_in(client, REMOTE_ADDR=HERE).status_code == 302
    assert logged_in(client)


def test_a_lock_is_one_event_and_what_was_typed_can_be_erased(client: Client) -> None:
    typed = "my-password-in-the-wrong-field"
    for _ in range(6):
        sign_in(client, typed, "wrong-secret-123", REMOTE_ADDR=HERE)
    event = Event.objects.get(kind="auth.locked_out")
    assert event.data == {"locked": "account and address", "seconds": 900}
    assert EventDetail.objects.get(event_id=event.id).label == typed
    kept = str(list(LoginThrottle.objects.values_list()))
    assert typed not in kept
    assert "wrong-secret-123" not in kept
    assert Event.objects.filter(kind="auth.login_failed").count() == 3, "a refused try looks at no password"


def test_a_success_forgets_the_pair_and_one_try_of_the_others() -> None:
    for _ in range(2):
        fail("ada", HERE)
    throttle.succeeded(throttle.begin("ada", HERE))
    assert dict(LoginThrottle.objects.values_list("address", "failures")) == {"": 2, HERE: 2}
    for _ in range(2):
        fail("ada", HERE)
    assert not throttle.begin("ada", HERE).seconds


def test_failures_long_ago_do_not_add_up() -> None:
    for _ in range(5):
        assert not fail("ada", HERE).seconds
        age(901)


def test_many_addresses_lock_the_account_but_not_for_its_owner() -> None:
    sign_in(Client(), REMOTE_ADDR=HERE)  # where the owner has been
    for number in range(30):
        fail("ada", f"198.51.100.{number}")
    assert fail("ada", "198.51.100.99").seconds
    assert fail("ada", THERE).seconds
    assert sign_in(Client(), REMOTE_ADDR=HERE).status_code == 302
    for _ in range(3):
        fail("ada", HERE)
    assert fail("ada", HERE).seconds, "the owner's place has the first count still"


def test_one_address_on_many_accounts_is_locked() -> None:
    for number in range(30):
        fail(f"user{number}", HERE)
    assert fail("bob", HERE).seconds
    assert not fail("bob", THERE).seconds


def test_a_locked_pair_adds_nothing_to_the_account() -> None:
    for _ in range(200):
        fail("ada", HERE)
    assert LoginThrottle.objects.get(address="").failures == 3
    assert not throttle.begin("ada", THERE).seconds


def test_a_name_without_an_account_is_treated_alike() -> None:
    assert [fail("nobody", HERE).seconds > 0 for _ in range(4)] == [
        fail("ada", THERE).seconds > 0 for _ in range(4)
    ]


def test_an_ipv6_host_is_its_network() -> None:
    assert throttle.address_key("2001:db8:1:2:aaaa::1") == throttle.address_key("2001:db8:1:2:bbbb::2")
    assert throttle.address_key("::ffff:192.0.2.7") == HERE
    assert throttle.address_key(None) == "unknown"


def test_behind_a_proxy_the_client_counts_and_what_it_claims_does_not(settings: Any) -> None:
    settings.ARC_BEHIND_PROXY = True
    for number in range(4):
        sign_in(
            Client(),
            password="wrong",
            REMOTE_ADDR="10.0.0.1",
            HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, {HERE}",
        )
    assert throttle.begin("ada", HERE).seconds
    assert not throttle.begin("ada", "10.0.0.1").seconds


@pytest.mark.django_db(transaction=True)
def test_tries_at_once_gain_nothing() -> None:
    tries = at_once(lambda: throttle.begin("ada", HERE), times=12)
    assert sum(not one.seconds for one in tries) == 3
    assert sum(bool(one.locks) for one in tries) == 1


def test_the_command_unlocks_a_name_an_address_or_all() -> None:
    def unlock(*args: str) -> str:
        out = StringIO()
        call_command("unlock", *args, stdout=out)
        return out.getvalue()

    for what in (["ada"], [HERE], ["--all"]):
        for _ in range(3):
            fail("ada", HERE)
        assert throttle.begin("ada", HERE).seconds
        assert what[0].lstrip("-") in unlock(*what)
        assert not throttle.begin("ada", HERE).seconds
        LoginThrottle.objects.all().delete()
    assert "Nothing" in unlock("ada")
    assert Event.objects.filter(kind="auth.unlocked").count() == 3
    with pytest.raises(CommandError, match="--all"):
        unlock()


def test_old_failures_are_forgotten() -> None:
    fail("ada", HERE)
    assert records.forget_old()["throttles"] == 0
    age(86401)
    assert records.forget_old()["throttles"] == 3


def test_the_old_password_of_a_change_is_guessed_no_more_often_than_at_the_login(client: Client) -> None:
    sign_in(client, REMOTE_ADDR=HERE)
    fresh = {"new_password1": "another-and-long-2026", "new_password2": "another-and-long-2026"}

    def change(old: str) -> Any:
        return client.post("/password_change/", {"old_password": old, **fresh}, REMOTE_ADDR=HERE)

    said = [" ".join(change("wrong").context["form"].errors["old_password"]) for _ in range(3)]
    assert "entered incorrectly" in said[0]
    assert "Try again in 15 minutes" in said[2]
    assert "without looking at the password" in str(change(PASSWORD).context["form"].errors)
    age(901)
    assert change(PASSWORD).status_code == 302
