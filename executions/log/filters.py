"""The filters of the Execution Log and of the requests, all of them in the URL. Times are UTC."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from automations.models import Automation
from executions.models import ExecutionQuerySet, Outcome
from executions.states import Status
from projects.form_words import NamedErrors
from projects.ids import first_id_at
from projects.models import Project

CUSTOM = "custom"
RANGES = {
    "": ("Any time", None),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    CUSTOM: ("Custom range (UTC)", None),
}
# In the order in which people look for them: problems first.
STATUS_ORDER = [
    Status.FAILED, Status.REJECTED, Status.PARTIALLY_EXECUTED, Status.RUNNING, Status.PENDING, Status.PAUSED,
    Status.SUCCESS,
]  # fmt: skip

PERIODS = {"today": ("Today", 1), "7d": ("7 days", 7), "30d": ("30 days", 30)}


class LogFilters(NamedErrors, forms.Form):
    """The filters of the log. A value that is not understood becomes a field error; the other filters still apply."""

    status = forms.TypedMultipleChoiceField(
        choices=[(status.code, status.label) for status in STATUS_ORDER],
        coerce=Status.from_code,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    automation = forms.UUIDField(
        required=False, error_messages={"invalid": "Automation must be the id of an automation."}
    )
    range = forms.ChoiceField(
        label="Time", choices=[(key, label) for key, (label, _) in RANGES.items()], required=False
    )

    def __init__(self, data: Any, *, project: Project) -> None:
        super().__init__(data, prefix=None, auto_id="filter-%s")
        self.project = project
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
        for name in ("from", "to"):  # `from` is reserved in Python, so that it cannot be a class attribute
            words = {"invalid": f"{name.title()} must be a date and time such as 2026-01-31T09:30."}
            self.fields[name] = forms.DateTimeField(
                label=f"{name.title()} (UTC)", required=False, widget=widget, error_messages=words
            )

    def clean_automation(self) -> Automation | None:
        uid: uuid.UUID | None = self.cleaned_data["automation"]
        if uid is None:
            return None
        # only(): a draft may be large, and the filter needs the name.
        automation = Automation.objects.filter(project=self.project, uid=uid).only("uid", "name", "deleted_at").first()
        if automation is None:
            raise forms.ValidationError("This project has no such automation.")
        return automation

    def clean(self) -> dict[str, Any]:
        start, end = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if start and end and start >= end:
            self.add_error("to", "The end must be after the start.")
        return self.cleaned_data

    @property
    def period(self) -> tuple[datetime | None, datetime | None]:
        chosen = self.cleaned_data.get("range", "")
        _, length = RANGES[chosen]
        if length:
            return timezone.now() - length, None
        return self.cleaned_data.get("from"), self.cleaned_data.get("to")

    @property
    def is_custom(self) -> bool:
        """Return whether the page shows the two edges of a custom range, also when one of them is wrong."""
        chosen = self.cleaned_data.get("range")
        return chosen == CUSTOM or (not chosen and any(self.data.get(name) for name in ("from", "to")))

    @property
    def chosen_range(self) -> str:
        return CUSTOM if self.is_custom else self.cleaned_data.get("range", "")

    @property
    def chosen_statuses(self) -> list[str]:
        return [status.code for status in self.cleaned_data.get("status", [])]

    @property
    def edges(self) -> list[forms.BoundField]:
        return [self["from"], self["to"]]

    def narrow(self, executions: ExecutionQuerySet, *, after: uuid.UUID | None = None) -> ExecutionQuerySet:
        """Return the executions that match the valid filters and, if told, are newer than the one with this id."""
        if statuses := self.cleaned_data.get("status"):
            executions = executions.with_status(*statuses)
        if automation := self.cleaned_data.get("automation"):
            executions = executions.filter(automation=automation)
        start, end = self.period
        if after and (start is None or first_id_at(start) <= after):  # of two bounds SQLite may search by the wider one
            return executions.filter(id__gt=after).between(None, end)
        return executions.between(start, end)

    @property
    def active_count(self) -> int:
        """Return the number of filters that are set; a time range is one filter."""
        given = [self.cleaned_data.get("status"), self.cleaned_data.get("automation"), any(self.period)]
        return sum(bool(value) for value in given)

    @property
    def automations(self) -> list[Automation]:
        """Return the automations to choose from: the project's, and a deleted one that is chosen already."""
        kept = list(Automation.objects.kept().filter(project=self.project).only("uid", "name", "deleted_at"))
        chosen = self.cleaned_data.get("automation")
        return [*kept, chosen] if chosen and chosen.deleted_at else kept


class RequestFilters(NamedErrors, forms.Form):
    """The filters of an automation's requests: whole days, so that the list and the totals cover the same requests."""

    period = forms.ChoiceField(choices=[(key, label) for key, (label, _) in PERIODS.items()], required=False)
    outcome = forms.ChoiceField(choices=Outcome.choices, required=False)

    @property
    def chosen_period(self) -> str:
        return self.cleaned_data.get("period") or "7d"

    @property
    def days(self) -> int:
        return PERIODS[self.chosen_period][1]

    @property
    def period_in_words(self) -> str:
        return "today" if self.days == 1 else f"in the last {self.days} days"

    @property
    def chosen_outcome(self) -> Outcome | None:
        chosen = self.cleaned_data.get("outcome")
        return Outcome(chosen) if chosen else None
