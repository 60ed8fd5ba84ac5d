"""Template tags of the pages of executions: a connector's icon, the banner of the month's limits, and waits."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from connectors.registry import CONNECTORS
from executions.log.pending import Waiting
from executions.models import Execution
from projects.models import Project
from projects.month_use import month_use
from projects.templatetags.ui import icon

register = template.Library()


@register.simple_tag
@lru_cache(maxsize=256, typed=True)
def connector_icon(key: str) -> SafeString:
    """Return a connector's icon; screen readers read its name, and a pointer shows it."""
    connector = CONNECTORS.get(key)
    title = connector.title if connector else key or "No connector"
    drawing = icon(connector.icon if connector else "plug")
    return format_html('<span title="{}">{}<span class="visually-hidden">{} </span></span>', title, drawing, title)


@register.inclusion_tag("executions/_limit_banner.html")
def limit_banner(project: Project) -> dict[str, Any]:
    return {"use": month_use(project.organization), "project": project}


@register.simple_tag
def waiting_of(execution: Execution, waits: dict[uuid.UUID, Waiting]) -> Waiting | None:
    """Return the limit that an execution of the log waits for, or None."""
    return waits.get(execution.pk) if waits else None
