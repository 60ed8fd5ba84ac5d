"""Staff's view of what builders designed: to read only, and without the triggers' secrets."""

from __future__ import annotations

import json

from django.contrib import admin

from automations import typed_secrets
from automations.models import Automation, Trigger, Version
from projects.admin import ReadOnly


@admin.register(Automation)
class AutomationAdmin(ReadOnly):
    list_display = ["name", "project", "organization", "is_active", "live_version", "updated_at", "deleted_at"]
    list_select_related = ["project", "organization", "live_version"]
    list_filter = ["is_active"]
    search_fields = ["name", "project__name", "organization__name"]
    fields = [
        "uid", "name", "description", "project", "organization", "is_active", "live_version", "time_limit_s",
        "definition_of_draft", "created_by", "created_at", "updated_at", "deleted_at",
    ]  # fmt: skip

    @admin.display(description="draft")
    def definition_of_draft(self, automation: Automation) -> str:
        return json.dumps(typed_secrets.masked(automation.draft), indent=2, ensure_ascii=False)


@admin.register(Version)
class VersionAdmin(ReadOnly):
    list_display = ["automation", "number", "created_by", "created_at"]
    list_select_related = ["automation", "created_by"]
    search_fields = ["automation__name"]
    fields = ["uid", "automation", "number", "definition_as_json", "created_by", "created_at"]

    @admin.display(description="definition")
    def definition_as_json(self, version: Version) -> str:
        return json.dumps(typed_secrets.masked(version.definition), indent=2, ensure_ascii=False)


@admin.register(Trigger)
class TriggerAdmin(ReadOnly):
    list_display = ["uid", "automation", "connector", "event", "has_secret", "created_at", "replaced_at"]
    list_select_related = ["automation"]
    search_fields = ["uid", "automation__name"]
    fields = ["uid", "automation", "connector", "event", "has_secret", "created_at", "replaced_at"]

    @admin.display(boolean=True, description="secret")
    def has_secret(self, trigger: Trigger) -> bool:
        return bool(trigger.encrypted_secret)
