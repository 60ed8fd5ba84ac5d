from __future__ import annotations

from django.urls import path

from projects import views
from projects.accounts import views as accounts

app_name = "projects"

urlpatterns = [
    path("projects/", views.project_list, name="list"),
    path("projects/new/", views.new_project, name="new"),
    path("projects/<uuid:project_uid>/", views.project_detail, name="detail"),
    path("projects/<uuid:project_uid>/variables/", views.variables, name="variables"),
    path("projects/<uuid:project_uid>/variables/<int:pk>/", views.variable, name="variable"),
    path("projects/<uuid:project_uid>/variables/<int:pk>/delete/", views.delete_variable, name="delete-variable"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/password/", accounts.password, name="password"),
    path("password/forgotten/", accounts.forgotten, name="forgotten"),
    path("password/forgotten/sent/", accounts.forgotten_sent, name="forgotten-sent"),
    path("password/new/<uidb64>/<token>/", accounts.NewPassword.as_view(), name="new-password"),
    path("settings/organization/<uuid:organization_uid>/", views.organization, name="organization"),
    path("settings/tokens/<int:pk>/revoke/", views.revoke_token, name="revoke-token"),
]
