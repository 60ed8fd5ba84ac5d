"""The addresses of all pages and of the API; `asgi.py` answers trigger URLs and /healthz ahead of Django."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from executions.monitoring import health
from executions.monitoring.metrics_page import metrics
from projects.accounts.views import SignIn

admin.site.site_header = "AgentOS administration"
admin.site.site_title = "AgentOS administration"
admin.site.index_title = "Everything that staff can see and change"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="projects:list")),
    path("login/", SignIn.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/password_change/", RedirectView.as_view(pattern_name="projects:password")),
    path("admin/login/", SignIn.as_view()),  # ahead of the administration's own: one page, with one limit of tries
    path("", include("projects.urls")),
    path("", include("automations.urls")),
    path("", include("executions.urls")),
    path(
        "favicon.ico", RedirectView.as_view(url=lazy(static, str)("favicon.svg"))
    ),  # pages without an icon of their own
    path("readyz", health.readyz),
    path("metrics", metrics),
    path("v1/", include("executions.api.urls")),
    path("admin/", admin.site.urls),
]
