"""Staff's pages for organizations, projects, members and limits; without secrets and tokens."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from projects.models import LimitNotice, Membership, Organization, Project

COUNTED = 10_000  # rows of a growing table that a list pages through at most


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages through the first rows of a growing table: COUNT(*) of millions would take longer than the page may."""

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        return len(rows.values_list("pk", flat=True)[:COUNTED])


class Kept(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that staff may change and nobody may delete: the executions that refer to them must stay readable."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnly(Kept):
    """Rows that only the product itself writes."""

    show_full_result_count = False  # another COUNT(*)
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Membership
    autocomplete_fields = ["user"]
    extra = 1


@admin.register(Organization)
class OrganizationAdmin(Kept):
    list_display = ["name", "soft_limit", "hard_limit", "email_limit", "time_limit_s", "created_at"]
    search_fields = ["name"]
    readonly_fields = ["uid", "created_at"]
    inlines = [MembershipInline]

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        """Save, and let the owners be told anew about each limit that was changed."""
        super().save_model(request, obj, form, change)
        changed = [limit for limit in LimitNotice.Limit if f"{limit.value}_limit" in form.changed_data]
        LimitNotice.objects.filter(organization=obj, limit__in=changed).delete()


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["user", "organization", "role"]
    list_filter = ["role"]
    list_select_related = ["user", "organization"]
    search_fields = ["user__username", "organization__name"]
    autocomplete_fields = ["user", "organization"]


@admin.register(Project)
class ProjectAdmin(Kept):
    list_display = ["name", "organization", "created_at", "deleted_at"]
    list_select_related = ["organization"]
    search_fields = ["name", "organization__name"]
    autocomplete_fields = ["organization", "members"]
    readonly_fields = ["uid", "created_by", "created_at", "updated_at", "deleted_at"]
