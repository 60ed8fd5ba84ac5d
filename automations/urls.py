from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from automations.builder import listing, overview, steps, trigger, typed

app_name = "automations"

of_step = [
    path("", steps.step, name="step"),
    path("move/", steps.move, name="move-step"),
    path("duplicate/", steps.duplicate, name="duplicate-step"),
    path("delete/", steps.delete, name="delete-step"),
    path("disable/", steps.disable, name="disable-step"),
    path("make-variable/", typed.make_variable, name="make-variable"),
]

of_trigger = [
    path("", trigger.trigger, name="trigger"),
    path("make/", trigger.make, name="make-trigger"),
    path("replace/", trigger.replace, name="replace-trigger"),
    path("rotate/", trigger.rotate, name="rotate-secret"),
    path("remove-secret/", trigger.remove_secret, name="remove-secret"),
]

of_automation: list[URLPattern | URLResolver] = [
    path("", overview.overview, name="builder"),
    path("settings/", overview.change_settings, name="change-settings"),
    path("activate/", overview.activate, name="activate"),
    path("deactivate/", overview.deactivate, name="deactivate"),
    path("discard/", overview.discard, name="discard"),
    path("toggle/", listing.toggle, name="toggle"),
    path("duplicate/", listing.duplicate, name="duplicate"),
    path("trigger/", include(of_trigger)),
    path("add/<int:position>/", steps.add, name="add-step"),
    path("steps/<slug:key>/", include(of_step)),
]

urlpatterns = [
    path("projects/<uuid:project_uid>/automations/", listing.automation_list, name="list"),
    path("projects/<uuid:project_uid>/automations/new/", listing.new, name="new"),
    path("projects/<uuid:project_uid>/automations/<uuid:automation_uid>/", include(of_automation)),
]
