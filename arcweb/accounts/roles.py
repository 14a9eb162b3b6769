"""The three roles and what each may do: the one table. Groups of these names are made by every migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.db import DEFAULT_DB_ALIAS

if TYPE_CHECKING:
    from django.contrib.auth.models import Permission, User

Role = Literal["viewer", "operator", "administrator"]
#: From the least to the most; each may do what the one before may. The last may do everything.
ROLES: tuple[Role, ...] = get_args(Role)

#: What a role is, for the form that chooses it.
WORDS: dict[Role, str] = {
    "viewer": "sees agents, memories, jobs, events, PostgreSQL and what Redis holds, and changes nothing",
    "operator": "works with agents, documents, memories, jobs, what PostgreSQL runs, and what Redis holds",
    "administrator": "may do everything, people and their sessions too",
}

#: The least role that has a permission ("app.codename"). A permission of the project that is missing here
#: fails a test, so that whoever adds one decides who has it.
LEAST: dict[str, Role] = {
    "agents.view_agent": "viewer",
    "agents.add_agent": "operator",
    "agents.change_agent": "operator",
    "agents.delete_agent": "operator",
    "memories.view_document": "viewer",
    "memories.add_document": "operator",
    "memories.change_document": "operator",
    "memories.delete_document": "operator",
    "memories.view_documentsource": "viewer",
    "memories.add_documentsource": "operator",
    "memories.change_documentsource": "operator",
    "memories.delete_documentsource": "operator",
    "memories.view_memory": "viewer",
    "memories.add_memory": "operator",
    "memories.change_memory": "operator",
    "memories.delete_memory": "operator",
    "jobs.view_job": "viewer",
    "jobs.cancel_job": "operator",
    "jobs.retry_job": "operator",
    "events.view_event": "viewer",
    "events.view_alert": "viewer",
    "events.change_alert": "operator",
    "events.export_event": "operator",
    "events.export_personal": "administrator",
    "samples.view_sample": "viewer",
    "cache_admin.view_server": "viewer",
    "cache_admin.view_keys": "viewer",
    "cache_admin.change_keys": "operator",
    "cache_admin.delete_keys": "operator",
    "cache_admin.flush_cache": "administrator",
    "cache_admin.change_config": "administrator",
    "cache_admin.save_data": "operator",
    "cache_admin.kill_client": "operator",
    "cache_admin.reset_statistics": "operator",
    "cache_admin.watch_live": "operator",
    "cache_admin.publish": "operator",
    "cache_admin.release_lock": "operator",
    "cache_admin.reset_limit": "operator",
    "cache_admin.change_leaderboard": "operator",
    "cache_admin.purge_queue": "operator",
    "database.view_server": "viewer",
    "database.view_statements": "operator",
    "database.cancel_statement": "operator",
    "database.explain_statement": "operator",
    "database.maintain": "operator",
    "database.change_settings": "administrator",
    "database.change_partitions": "administrator",
    "database.view_safety": "operator",
    "backups.view_backup": "viewer",
    "backups.take_backup": "operator",
    "backups.verify_backup": "operator",
    "backups.pin_backup": "operator",
    "backups.download_backup": "administrator",
    "backups.upload_backup": "administrator",
    "backups.delete_backup": "administrator",
    "backups.restore_backup": "administrator",
    "backups.change_retention": "administrator",
    "backups.view_schedule": "viewer",
    "backups.add_schedule": "administrator",
    "backups.change_schedule": "administrator",
    "backups.delete_schedule": "administrator",
    "accounts.view_usersession": "administrator",
    "accounts.end_session": "administrator",
}


def has(role: Role, permission: str) -> bool:
    """Whether a role has a permission; what the table does not name is the administrator's alone."""
    return ROLES.index(LEAST.get(permission, "administrator")) <= ROLES.index(role)


def role_of(user: User) -> Role | None:
    """The highest of the user's roles; None for none (one query, unless the groups are prefetched)."""
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(ROLES) if role in names), None)


def keep(sender: AppConfig, using: str = DEFAULT_DB_ALIAS, apps: Any = all_apps, **kwargs: Any) -> None:
    """After the last app's migrations: the groups exist and have exactly what the table says."""
    last = [config for config in all_apps.get_app_configs() if config.models_module is not None][-1]
    if sender.name != last.name:
        return
    from django.contrib.auth.management import create_permissions

    create_permissions(sender, verbosity=0, using=using, apps=apps)  # Django's own receiver may come later
    try:
        groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # migrated back to nothing
        return
    known: list[Permission] = list(
        permissions.objects.using(using).select_related("content_type").order_by("pk")
    )
    for role in ROLES:
        group, _ = groups.objects.using(using).get_or_create(name=role)
        group.permissions.set(
            [one for one in known if has(role, f"{one.content_type.app_label}.{one.codename}")]
        )
