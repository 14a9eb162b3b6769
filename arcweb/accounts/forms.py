"""The forms of logging in and of one's own account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from arcweb.accounts import throttle
from arcweb.events.actors import request_origin


@contextmanager
def throttled(name: str, address: str | None) -> Iterator[None]:
    """Around the look at a password: refuses it unlooked at, or counts its failure (a ValidationError)."""
    attempt = throttle.begin(name, address)
    if attempt.seconds:
        raise ValidationError(throttle.sentence(attempt.seconds), code="throttled")
    try:
        yield
    except ValidationError as error:
        if seconds := throttle.failed(attempt, name):
            raise ValidationError(throttle.locked_sentence(seconds), code="throttled") from error
        raise
    throttle.succeeded(attempt)


class LoginForm(AuthenticationForm):
    """Name and password of any active user, throttled."""

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password or self.request is None:
            return super().clean()
        origin = request_origin(self.request.META, behind_proxy=settings.ARC_BEHIND_PROXY)
        with throttled(name, origin.address):
            return super().clean()


class OwnPasswordForm(AdminPasswordChangeForm):
    """One's own password, after the old one, whose tries count as those of a login from this address do."""

    def __init__(self, user: User, *args: Any, address: str | None, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.address = address

    def clean_old_password(self) -> str:
        with throttled(self.user.get_username(), self.address):
            return str(super().clean_old_password())


class ProfileForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
