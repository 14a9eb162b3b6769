"""The jobs pages: a list, and a page per job that follows its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from arcweb.jobs import admin_views, registry
from arcweb.jobs.models import Job

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Job]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(known.kind, known.label) for known in registry.handlers()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(_ModelAdmin):
    list_display = (
        "__str__",
        "state",
        "kind_label",
        "target",
        "progress_text",
        "created_at",
        "run_time",
        "actor_name",
    )
    list_filter = ("state", KindFilter)
    search_fields = ("title", "target")
    ordering = ("-created_at",)
    list_per_page = 50
    show_full_result_count = False
    actions = None

    @admin.display(description="kind", ordering="kind")
    def kind_label(self, job: Job) -> str:
        return job.label

    @admin.display(description="progress")
    def progress_text(self, job: Job) -> str:
        total = "" if job.total is None else f" of {job.total}"
        return f"{job.done}{total} {job.unit}".rstrip() if job.done or job.total else "-"

    @admin.display(description="run time")
    def run_time(self, job: Job) -> str:
        return job.elapsed

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        match = request.resolver_match
        listing = match is not None and match.url_name == "jobs_job_changelist"
        return Job.objects.light() if listing else Job.objects.all()

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
