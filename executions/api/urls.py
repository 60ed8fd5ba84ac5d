from __future__ import annotations

from django.urls import path, re_path

from executions.api import receipts, steps, views
from executions.api.endpoint import unknown

app_name = "api"

PROJECT = "projects/<uuid:project_uid>"
EXECUTION = f"{PROJECT}/executions/<uuid:execution_id>"

urlpatterns = [
    path("projects", views.projects, name="projects"),
    path(PROJECT, views.project, name="project"),
    path(f"{PROJECT}/automations", views.automations, name="automations"),
    path(f"{PROJECT}/automations/<uuid:automation_uid>", views.automation, name="automation"),
    path(f"{PROJECT}/automations/<uuid:automation_uid>/receipts", receipts.receipts, name="receipts"),
    path(f"{PROJECT}/executions", views.executions, name="executions"),
    path(EXECUTION, views.execution, name="execution"),
    path(f"{EXECUTION}/steps", steps.steps, name="steps"),
    path(f"{EXECUTION}/retry", views.retry, name="retry"),
    path(f"{EXECUTION}/cancel", views.cancel, name="cancel"),
    re_path("", unknown),
]
