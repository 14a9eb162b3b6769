"""The jobs pages: a list, and a page per job that follows its progress."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html

from arcweb.admin import LargeTable, moment, state_words
from arcweb.jobs import admin_views, finder, registry
from arcweb.jobs.models import Job
from arcweb.registry import Finder, NavItem, register_finder, register_nav

register_nav(NavItem("Jobs", "Safety", "admin:jobs_job_changelist", "jobs.view_job", order=20))
register_finder(Finder("Jobs", "jobs.view_job", finder.find, order=40))


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(known.kind, known.label) for known in registry.handlers()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(LargeTable):
    watch = "jobs"
    list_display = (
        "name",
        "standing",
        "progress",
        "of_kind",
        "target",
        "created",
        "run_time",
        "asked_by",
        "steps",
    )
    list_display_links = ("name",)
    list_filter = ("state", KindFilter)
    linked_lookups = ("state",)
    search_fields = ("title", "target")
    search_help_text = "A part of a title or target; the newest jobs are looked through."
    sortable_by = ("created",)
    ordering = ("-created_at",)
    actions = None

    class Media:
        css = {"all": ["arcweb/records.css"]}

    def words_condition(self, words: str) -> Q | None:
        return Job.objects.named(words.strip()) if words.strip() else None

    def listed(self, rows: QuerySet[Job]) -> QuerySet[Job]:
        return rows.defer("params", "result")

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Which of the buttons a row has; the user's permissions are read once, for all rows."""
        may = {verb: request.user.has_perm(f"jobs.{verb}_job") for verb in ("cancel", "retry")}
        for job in rows:
            job.may_cancel = may["cancel"] and job.can_cancel
            job.may_retry = may["retry"] and job.can_retry and request.user.has_perm(job.retry_permission)

    @admin.display(description="job")
    def name(self, job: Job) -> str:
        return str(job)

    @admin.display(description="state")
    def standing(self, job: Job) -> str:
        return state_words(job.shape, job.get_state_display())

    @admin.display(description="kind")
    def of_kind(self, job: Job) -> str:
        return job.label

    @admin.display(description="progress")
    def progress(self, job: Job) -> str:
        return render_to_string("admin/jobs/_bar.html", {"job": job}) if job.done or job.total else "none yet"

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, job: Job) -> str:
        return moment(job.created_at)

    @admin.display(description="run time")
    def run_time(self, job: Job) -> str:
        return job.elapsed

    @admin.display(description="asked for by")
    def asked_by(self, job: Job) -> str:
        return job.actor_name or job.actor_id or job.actor_kind

    @admin.display(description="do", empty_value="")
    def steps(self, job: Any) -> str:
        """Buttons of the list's own form, which carries the token against forgery."""
        verb = "cancel" if job.may_cancel else "retry" if job.may_retry else ""
        if not verb:
            return ""
        return format_html(
            '<button type="submit" class="btn" formaction="{}" name="back" value="list" '
            'aria-label="{} {}">{}</button>',
            admin_views.url(verb, job.pk),
            verb.capitalize(),
            job,
            verb.capitalize(),
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:job_id>/cancel/", wrap(admin_views.cancel), name="jobs_job_cancel"),
            path("<uuid:job_id>/retry/", wrap(admin_views.retry), name="jobs_job_retry"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The job's page; for htmx its live part alone, which asks again until the job has ended."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404("There is no job with this id.")
        if getattr(request, "htmx", False):
            return TemplateResponse(request, "admin/jobs/_progress.html", {"job": job})
        context = {
            **self.admin_site.each_context(request),
            "title": str(job),
            "job": job,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/jobs/job.html", context)
