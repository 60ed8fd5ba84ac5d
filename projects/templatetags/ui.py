"""The small things every page draws: icons, times, durations, sizes."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

STATUS_ICONS = {
    "success": "circle-check",
    "failed": "circle-x",
    "pending": "clock",
    "running": "loader-circle",
    "rejected": "ban",
    "paused": "circle-pause",
    "partially_executed": "circle-dashed",
    "skipped": "minus",
}


@register.simple_tag
@lru_cache(maxsize=512, typed=True)  # the log draws the same few hundreds of times; typed: safe text is not text
def icon(name: str, classes: str = "") -> SafeString:
    """Draw one icon of the sprite; it says nothing to a screen reader, the words beside it do."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        classes,
        static("icons.svg"),
        name,
    )


@register.simple_tag(name="quiet")
def quiet_reason() -> str:
    """Return why this installation keeps quiet; empty when it does not."""
    from projects import quiet  # here: tools read this module's tables without Django's models

    return quiet.reason()


@register.simple_tag
def status_icon(status: str) -> SafeString:
    return icon(STATUS_ICONS.get(status, "circle"))


@register.simple_tag
@lru_cache(maxsize=64, typed=True)
def badge(status: str, label: str) -> SafeString:
    """Draw a status as icon, word and colour: never by colour alone."""
    return format_html(
        '<span class="badge" data-status="{}">{}<span>{}</span></span>', status, status_icon(status), label
    )


@register.filter
def absolute(moment: datetime | None) -> str:
    """Write a moment in the reader's zone, to the second, with the zone's name."""
    return timezone.localtime(moment).strftime("%d %b %Y, %H:%M:%S %Z") if moment else ""


@register.filter
def clock(moment: datetime) -> str:
    """Write a moment near by in the reader's zone: the time of day, and the date when it is another day."""
    local = timezone.localtime(moment)
    is_today = local.date() == timezone.localdate()
    return local.strftime("%H:%M:%S %Z") if is_today else absolute(moment)


@register.simple_tag
def relative_time(moment: datetime | None, classes: str = "", *, tense: str = "past") -> SafeString:
    """Draw "3 minutes ago", or "in 3 minutes", which the browser keeps fresh; without scripts the absolute time."""
    if moment is None:
        return format_html('<span class="muted">{}</span>', "–")
    told = absolute(moment)
    return format_html(
        '<relative-time class="{}" datetime="{}" threshold="P7D" tense="{}" no-title title="{}">{}</relative-time>',
        classes,
        moment.isoformat(timespec="seconds"),
        tense,
        told,
        told,
    )


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Write a time span (a timedelta, or milliseconds) as people say it: 8 ms, 1.2 s, 2 min 3 s, 3 h 4 min."""
    if value is None:
        return "–"
    ms = value.total_seconds() * 1000 if isinstance(value, timedelta) else float(value)
    if round(ms) < 1000:
        return f"{round(ms)} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    return long_duration(round(ms / 1000))


def long_duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2])


@register.filter
def size(count: int | None) -> str:
    """Write a number of bytes: 812 B, 1.4 KB, 2.9 MB."""
    if count is None:
        return ""
    if count < 1024:
        return f"{count} B"
    kilobytes = count / 1024
    return f"{kilobytes:.1f} KB" if kilobytes < 1024 else f"{kilobytes / 1024:.1f} MB"


@register.filter
def grouped(number: int | None) -> str:
    """Write a count with its thousands apart."""
    return f"{number:,}" if number is not None else "–"
