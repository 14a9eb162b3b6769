"""The forms with which administrators add and change people: a role, and who may give what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db.models import Model

from arcweb.accounts.guards import lacking, last_superuser
from arcweb.accounts.roles import ROLES, WORDS, role_of
from arcweb.seen import SeenForm, print_of

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[User]
else:
    _ModelForm = forms.ModelForm

CHOICES = [("", "none: may log in, and sees nothing"), *((role, f"{role}: {WORDS[role]}") for role in ROLES)]


class RoleMixin(_ModelForm):
    """A choice of one role; groups that are no role stay as they are. `acting` is set by the admin."""

    acting: User
    role = forms.ChoiceField(choices=CHOICES, required=False, widget=forms.RadioSelect)

    def clean_role(self) -> str:
        role: str = self.cleaned_data["role"]
        given = Group.objects.filter(name=role, permissions__in=lacking(self.acting))
        if "role" in self.changed_data and given.exists():
            raise ValidationError("This role may do more than you: somebody who has it must give it.")
        return role

    def save_role(self) -> None:
        """Put the saved user into the group of the chosen role and out of the others'."""
        user = self.instance
        chosen = self.cleaned_data.get("role", "")
        wanted = Group.objects.filter(name=chosen) if chosen else Group.objects.none()
        user.groups.remove(*user.groups.filter(name__in=ROLES).exclude(name=chosen))
        user.groups.add(*wanted)


class AddUserForm(RoleMixin, AdminUserCreationForm):
    field_order = ("username", "role")


class PasswordForm(AdminPasswordChangeForm):
    """A new password, without Django's choice of none: nobody logs in otherwise, and the last superuser must.

    Who shall not log in is deactivated.
    """

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields.pop("usable_password", None)
        for name in ("password1", "password2"):
            self.fields[name].required = True


class GroupForm(SeenForm):
    """A group, to which only permissions can be added that `acting`, set by the admin, has."""

    acting: User

    def clean_permissions(self) -> list[Permission]:
        chosen: list[Permission] = list(self.cleaned_data["permissions"])
        held = set(self.instance.permissions.all()) if self.instance.pk else set()
        beyond = lacking(self.acting).filter(pk__in=[one.pk for one in chosen if one not in held])
        if names := list(beyond.values_list("name", flat=True)[:3]):
            raise ValidationError(
                f"You do not have these permissions, so you cannot give them: {', '.join(names)}."
            )
        return chosen


class ChangeUserForm(RoleMixin, SeenForm, UserChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial.setdefault("role", _role(self.instance))

    def prints(self, row: Model) -> dict[str, str]:
        return {**super().prints(row), "role": print_of(_role(row))}

    def value_now(self, name: str) -> Any:
        return _role(self.instance) if name == "role" else super().value_now(name)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
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


def _role(user: Any) -> str:
    """As the field of RoleMixin says it."""
    return role_of(user) or ""
