from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from executions.log import deletion, delta, detail, listing, payload, requests, usage_page

app_name = "executions"

project_urls: list[URLPattern | URLResolver] = [
    # /projects/<project>/...
    path("executions/", listing.log, name="log"),
    path("executions/delta/", delta.delta, name="delta"),
    path("executions/<uuid:execution_id>/", detail.detail, name="detail"),
    path("executions/<uuid:execution_id>/retry/", detail.retry, name="retry"),
    path("executions/<uuid:execution_id>/cancel/", detail.cancel, name="cancel"),
    path("executions/<uuid:execution_id>/steps/<int:attempt>/<slug:key>/<slug:side>/", payload.payload, name="payload"),
    path("automations/<uuid:automation_uid>/last-executions/", listing.last_executions, name="last"),
    path("automations/<uuid:automation_uid>/delete/", deletion.delete, name="delete-automation"),
    path("automations/<uuid:automation_uid>/requests/", requests.requests, name="requests"),
    path("automations/<uuid:automation_uid>/requests/delta/", requests.delta, name="requests-delta"),
    path("automations/<uuid:automation_uid>/", include("executions.step_tests.urls")),
    path("usage/", usage_page.usage, name="usage"),
]

urlpatterns = [
    path("projects/<uuid:project_uid>/", include(project_urls)),
    path("help/executions/", usage_page.help_page, name="help"),
]
