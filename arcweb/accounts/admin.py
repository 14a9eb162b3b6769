"""Users and groups in the admin, their changes on record, and the pages of accounts and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from arcweb.accounts import admin_views
from arcweb.accounts.guards import stronger, why_not_delete
from arcweb.accounts.models import UserSession
from arcweb.accounts.roles import ROLES, role_of
from arcweb.accounts.user_forms import AddUserForm, ChangeUserForm, GroupForm, PasswordForm
from arcweb.admin import ChangedFieldsOnly, CountedDeletion
from arcweb.events.admin import AuditedAdmin
from arcweb.list_verdict import ListVerdict
from arcweb.registry import (
    Dependents,
    NavItem,
    Page,
    register_dependents,
    register_nav,
    register_page,
    register_shortcut,
)

# Importing Django's module above has registered its own.
admin.site.unregister([User, Group])

register_nav(NavItem("Users", "Safety", "admin:auth_user_changelist", "auth.view_user", 40))
register_nav(NavItem("Groups", "Safety", "admin:auth_group_changelist", "auth.view_group", 41))
register_nav(NavItem("Add a user", "Safety", "admin:auth_user_add", "auth.add_user", 42, listed=False))
register_nav(NavItem("Add a group", "Safety", "admin:auth_group_add", "auth.add_group", 43, listed=False))
register_nav(NavItem("Change your password", "Safety", "admin:password_change", order=61, listed=False))
register_dependents(
    Dependents(User, "sessions", lambda keys: UserSession.objects.filter(user__in=keys).count())
)
for path, view, name, title, permission in (
    ("account/", admin_views.account, "account", "Account", ""),
    ("account/theme/", admin_views.set_theme, "account_theme", "Theme", ""),
    ("account/sessions/<int:pk>/end/", admin_views.end_own, "account_end_session", "Revoke", ""),
    ("account/sessions/end/", admin_views.end_others, "account_end_others", "Revoke all others", ""),
    ("sessions/<int:pk>/end/", admin_views.end_one, "session_end", "Revoke", "accounts.end_session"),
    (
        "sessions/user/<int:pk>/end/",
        admin_views.end_all,
        "sessions_end_all",
        "End all",
        "accounts.end_session",
    ),
):
    register_page(Page(path, view, name, title, "Safety", permission, listed=False))
register_page(
    Page(
        "sessions/",
        admin_views.sessions,
        "sessions",
        "Sessions",
        "Safety",
        "accounts.view_usersession",
        order=50,
    )
)
register_shortcut("account", "Your account")


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only


class RoleFilter(admin.SimpleListFilter):
    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((role, role) for role in ROLES), ("none", "none")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "none":
            return queryset.exclude(groups__name__in=ROLES)
        return queryset.filter(groups__name=self.value()) if self.value() else queryset


class TickedPermissions(_ModelAdmin):
    """Permissions as boxes to tick: every one is seen, and a keyboard is enough."""

    filter_horizontal: ClassVar[tuple[str, ...]] = ()

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.remote_field.model is Permission:
            kwargs["widget"] = forms.CheckboxSelectMultiple(attrs={"class": "permissions"})
        return super().formfield_for_manytomany(db_field, request, **kwargs)


@admin.register(User)
class UserAdmin(
    ListVerdict, TickedPermissions, CountedDeletion, ChangedFieldsOnly, AuditedAdmin, DjangoUserAdmin
):
    """People: a name, a role and whether they may log in. Nobody changes somebody who may do more."""

    lead = "Who may log in, and as what. A deactivated user is refused at the next request."
    add_form = AddUserForm
    form = ChangeUserForm
    change_password_form = PasswordForm
    list_display = ("username", "role", "first_name", "last_name", "email", "standing", "last_login")
    list_filter = ("is_active", RoleFilter)
    list_per_page = 50
    show_full_result_count = False
    add_fieldsets = ((None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),)
    readonly_fields = ("last_login", "date_joined")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="role")
    def role(self, user: User) -> str:
        return "superuser" if user.is_superuser else role_of(user) or "none"

    @admin.display(description="may log in", ordering="is_active")
    def standing(self, user: User) -> str:
        state, word = ("good", "active") if user.is_active else ("idle", "deactivated")
        return format_html('<span class="state {}">{}</span>', state, word)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        access = ["is_active", "role"]
        if request.user.is_superuser:
            access.append("is_superuser")
        sets: list[tuple[str | None, dict[str, Any]]] = [
            (None, {"fields": ("username", "password")}),
            ("Person", {"fields": ("first_name", "last_name", "email")}),
            ("Access", {"fields": access}),
        ]
        if request.user.is_superuser:
            more = "Beyond the role; seldom needed."
            sets.append(
                (
                    "Single permissions",
                    {"fields": ("user_permissions",), "description": more, "classes": ("collapse",)},
                )
            )
        return [*sets, ("Dates", {"fields": ("last_login", "date_joined")})]

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return _acting(super().get_form(request, obj, change=change, **kwargs), request)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if "role" in form.cleaned_data:
            form.save_role()

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        names, counts, missing, protected = super().get_deleted_objects(objs, request)
        with transaction.atomic():
            return names, counts, missing, [*protected, *why_not_delete(objs, cast("User", request.user))]

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():  # the rows that say who is the last superuser stay locked until the end
            return super().delete_view(request, object_id, extra_context)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002 - Django's name
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Asked several times for a page; the answer is kept with the user."""
    if user is None:
        return True
    held = cast("Any", user)
    if not hasattr(held, "arc_touched"):
        held.arc_touched = not stronger([user], cast("User", request.user))
    return bool(held.arc_touched)


def _acting(form: Any, request: HttpRequest) -> Any:
    """That class of forms, which knows who sends it."""
    return type(form.__name__, (form,), {"acting": request.user})


@admin.register(Group)
class GroupAdmin(ListVerdict, TickedPermissions, ChangedFieldsOnly, AuditedAdmin, DjangoGroupAdmin):
    """Groups of single permissions. Those of the roles are kept by every migration: nobody changes them."""

    lead = "The three roles are kept by ARC Web. Groups of your own give single permissions beside a role."
    form = GroupForm
    fields = ("name", "permissions")

    def get_form(
        self, request: HttpRequest, obj: Group | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return _acting(super().get_form(request, obj, change=change, **kwargs), request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.name in ROLES)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.name in ROLES)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        names, counts, missing, protected = super().get_deleted_objects(objs, request)
        kept = [f"{group}: a role, which every migration keeps." for group in objs if group.name in ROLES]
        return names, counts, missing, [*protected, *kept]
