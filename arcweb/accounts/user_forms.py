"""The forms with which administrators add and change people: a role, and who may give what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError

from arcweb.accounts.guards import last_superuser
from arcweb.accounts.roles import ROLES, WORDS, role_of

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[User]
else:
    _ModelForm = forms.ModelForm

CHOICES = [("", "none: may log in, and sees nothing"), *((role, f"{role}: {WORDS[role]}") for role in ROLES)]


class RoleMixin(_ModelForm):
    """A choice of one role; groups that are no role stay as they are. `acting` is set by the admin."""

    acting: User
    role = forms.ChoiceField(choices=CHOICES, required=False, widget=forms.RadioSelect)

    def save_role(self) -> None:
        """Put the saved user into the group of the chosen role and out of the others'."""
        user = self.instance
        chosen = self.cleaned_data.get("role", "")
        wanted = Group.objects.filter(name=chosen) if chosen else Group.objects.none()
        user.groups.remove(*user.groups.filter(name__in=ROLES).exclude(name=chosen))
        user.groups.add(*wanted)


class AddUserForm(RoleMixin, AdminUserCreationForm):
    field_order = ("username", "role")


class ChangeUserForm(RoleMixin, UserChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial.setdefault("role", role_of(self.instance) or "")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        before = User.objects.get(pk=self.instance.pk)
        active = cleaned.get("is_active", before.is_active)
        superuser = cleaned.get("is_superuser", before.is_superuser)
        if before.pk == self.acting.pk:
            self._refuse_to_lock_out_oneself(before, active, superuser)
        elif (
            before.is_superuser and before.is_active and not (active and superuser) and last_superuser(before)
        ):
            raise ValidationError(f"{before} is the last active superuser: make another one first.")
        return cleaned

    def _refuse_to_lock_out_oneself(self, before: User, active: bool, superuser: bool) -> None:
        if not active:
            self.add_error("is_active", "This is your own account: somebody else must deactivate it.")
        if before.is_superuser and not superuser:
            self.add_error("is_superuser", "This is your own account: another superuser must take this away.")
        if not before.is_superuser and "role" in self.changed_data:
            self.add_error("role", "This is your own role: somebody else must change it.")
