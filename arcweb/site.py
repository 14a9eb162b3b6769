"""The admin site of ARC Web."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django_htmx.http import HttpResponseClientRedirect

from arcweb.registry import Page, registered_pages

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ArcAdminSite(AdminSite):
    site_header = "ARC Web"
    site_title = "ARC Web"
    index_title = "Overview"
    site_url = None

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # They import the default site, which is being made while this module loads.
        from arcweb import panel_views, shell

        pages: list[URLPattern | URLResolver] = [
            path(page.path, self.admin_view(self._guarded(page)), name=page.name)
            for page in registered_pages()
        ]
        pages += panel_views.panel_urls(self)
        pages.append(path("find/", self.admin_view(shell.find), name="find"))
        # Without "view on site": no object here has a page elsewhere.
        own = [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]
        return pages + own

    def _guarded(self, page: Page) -> Callable[..., HttpResponseBase]:
        @wraps(page.view)
        def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if page.permission and not request.user.has_perm(page.permission):
                raise PermissionDenied
            request.current_app = self.name
            response: HttpResponseBase = page.view(request, *args, **kwargs)
            return response

        return view

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Django's, without its list of apps, which asks for every model's permissions on every page."""
        return {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": None,
            "has_permission": self.has_permission(request),
            "available_apps": [],
            "is_popup": False,
            "is_nav_sidebar_enabled": False,
            "log_entries": self.get_log_entries(request),
        }

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from arcweb import overview

        return super().index(request, {**overview.context(request), **(extra_context or {})})

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Django lists an app's models here; the navigation does that on every page."""
        return redirect("admin:index")

    def has_permission(self, request: HttpRequest) -> bool:
        """Everybody with an account may enter; every page checks what it needs."""
        return bool(request.user.is_active and request.user.is_authenticated)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from arcweb.accounts.endings import ended_sentence
        from arcweb.accounts.forms import LoginForm  # imports models, which are not ready with this module

        # A fragment that polls after the session ended must bring the login page, not be filled with it.
        htmx = getattr(request, "htmx", None)
        if htmx and request.method == "GET":
            try:
                here = htmx.current_url_abs_path or ""
            except ValueError:  # no address at all
                here = ""
            query = request.GET.copy()
            query["next"] = here
            return HttpResponseClientRedirect(f"{reverse('admin:login')}?{query.urlencode()}")
        self.login_form = LoginForm
        return super().login(request, {"ended_sentence": ended_sentence(request), **(extra_context or {})})

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from django.contrib.auth.views import PasswordChangeView

        from arcweb.accounts.forms import OwnPasswordForm
        from arcweb.events import record
        from arcweb.events.actors import request_origin

        origin = request_origin(request.META, behind_proxy=settings.ARC_BEHIND_PROXY)
        view = PasswordChangeView.as_view(
            form_class=partial(OwnPasswordForm, address=origin.address),
            success_url=reverse("admin:password_change_done", current_app=self.name),
            template_name="registration/password_change_form.html",
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        request.current_app = self.name
        with transaction.atomic():
            response = view(request)
            if request.method == "POST" and response.status_code == 302:
                record("user.changed", obj=cast("User", request.user), data={"fields": ["password"]})
        return response
