"""The forms of logging in and of one's own account."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from arcweb.accounts import throttle
from arcweb.events.actors import request_origin


class LoginForm(AuthenticationForm):
    """Name and password of any active user, throttled."""

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password or self.request is None:
            return super().clean()
        origin = request_origin(self.request.META, behind_proxy=settings.ARC_BEHIND_PROXY)
        attempt = throttle.begin(name, origin.address)
        if attempt.seconds:
            raise ValidationError(throttle.sentence(attempt.seconds), code="throttled")
        try:
            cleaned = super().clean()
        except ValidationError as error:
            if seconds := throttle.failed(attempt, name):
                said = ValidationError(throttle.locked_sentence(seconds), code="throttled")
                raise said from error
            raise
        throttle.succeeded(attempt)
        return cleaned


class ProfileForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
