"""The reasons against Retry Execution: the page shows one before the click, and `Execution.retry` raises it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import ValidationError

from automations.definition import Definition
from automations.models import Automation, Trigger, Version
from executions.states import Kind, Status


class Retryable(Protocol):
    """The parts of an execution that decide about a retry; a protocol, because the model itself imports this module."""

    @property
    def kind(self) -> int: ...
    @property
    def state(self) -> Status: ...
    @property
    def retries_left(self) -> int: ...
    @property
    def version(self) -> Version: ...
    @property
    def trigger_id(self) -> str | None: ...
    @property
    def trigger(self) -> Trigger | None: ...
    @property
    def payloads_removed_at(self) -> datetime | None: ...


class RetryRefused(Exception):
    """The execution cannot be retried; `code` is a stable machine word, `sentence` is for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def refusal_of(execution: Retryable, automation: Automation) -> RetryRefused | None:
    """Return the first reason against a retry, or None; change nothing and use no retry up."""
    return (
        _of_status(execution)
        or _of_versions(execution, automation)
        or _of_payload(execution)
        or _of_trigger(execution)
        or _of_automation(automation)
    )


def _of_status(execution: Retryable) -> RetryRefused | None:
    if execution.state is not Status.FAILED or execution.kind != Kind.AUTOMATION:
        what = f"is {execution.state.label}" if execution.state is not Status.FAILED else "belongs to an agent"
        return RetryRefused(
            "not_retryable", f"Only a Failed execution of an automation can be retried. This execution {what}."
        )
    if not execution.retries_left:
        return RetryRefused(
            "retry_limit_reached", "Both retries of this execution are used up. Start a new execution to try again."
        )
    return None


def _of_versions(execution: Retryable, automation: Automation) -> RetryRefused | None:
    versions = [version for version in (execution.version, automation.live_version) if version]
    try:
        replies = [Definition.model_validate(version.definition).replies for version in versions]
    except ValidationError:
        return RetryRefused(
            "unreadable_version", "This release of AgentOS cannot read the version that ran, or the live version."
        )
    if any(replies):
        return RetryRefused(
            "has_response_step",
            "An automation with a Response step cannot be retried: its caller has already been answered. "
            "Start a new execution instead.",
        )
    return None


def _of_payload(execution: Retryable) -> RetryRefused | None:
    if execution.payloads_removed_at is None:
        return None
    return RetryRefused(
        "payload_removed",
        f"Retention removed the payload of this execution on {execution.payloads_removed_at:%-d %B %Y}. "
        "Start a new execution instead.",
    )


def _of_trigger(execution: Retryable) -> RetryRefused | None:
    if execution.trigger_id is None or (execution.trigger and execution.trigger.replaced_at is None):
        return None
    return RetryRefused(
        "trigger_replaced",
        "This execution holds the payload of the trigger configured before; start a new execution to check the change.",
    )


def _of_automation(automation: Automation) -> RetryRefused | None:
    if automation.deleted_at:
        return RetryRefused("automation_inactive", "The automation has been deleted.")
    if not automation.is_active:
        return RetryRefused("automation_inactive", "The automation is not active. Activate it, then retry.")
    return None
