"""docs/connectors/: a page for each connector, from its declaration, and an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connectors.registry import CONNECTORS
from connectors.sdk.call import Action, Connector, Event
from executions.codes import STEP
from tools.reference.fields import table_of
from tools.reference.markdown import code, example, made_from, page, table

INTRODUCTION = """\
A connector is a kind of service. It offers triggers, which start an automation, and actions, which its steps carry
out. A field may hold a template such as `{{ trigger.body.id }}`: steps read what the trigger and earlier steps gave."""
ANY_STEP = """\
## What any step can fail with

A step that fails stops the execution as Failed, or is skipped, as its rule *if it fails* says. These codes can meet any
step; each connector's page lists its own."""
# Where a page of docs/ says more than a declaration can.
MORE = {
    "http": "What a request at a trigger URL becomes, and every answer: [trigger URLs](../trigger-urls.md).",
    "schedule": "When it fires exactly, also where the clock changes: [schedules](../schedules.md).",
}
INTERRUPTED = {
    "repeat": "The step runs again under the same idempotency key: *repeat* is its default, which a builder may "
    "change.",
    "never_repeat": "The step fails as `interrupted`, because it may have acted: *never repeat* is its default, which "
    "a builder may change.",
}


def pages(docs: Path) -> dict[str, str]:
    connectors = sorted(CONNECTORS.values(), key=lambda connector: connector.title)
    rows = [
        [
            f"[{connector.title}]({connector.key}.md)",
            _titles(connector.events),
            _titles(connector.actions),
            connector.summary,
        ]
        for connector in connectors
    ]
    any_step = [[code(reason.code), reason.meaning] for reason in STEP]
    index = page(
        "# Connectors",
        made_from("connectors/"),
        INTRODUCTION,
        table(["Connector", "Triggers", "Actions", "Use"], rows),
        "To write one of your own: [connector-sdk.md](../connector-sdk.md).",
        ANY_STEP,
        table(["Code", "Cause"], any_step),
    )
    return {"connectors/README.md": index, **{f"connectors/{c.key}.md": _connector(c) for c in connectors}}


def _titles(parts: tuple[Action[Any] | Event, ...]) -> str:
    return ", ".join(part.title for part in parts)


def _connector(connector: Connector) -> str:
    return page(
        f"# {connector.title}",
        made_from(_source(connector)),
        connector.summary,
        MORE.get(connector.key, ""),
        *(part for event in connector.events for part in _event(event)),
        *(part for action in connector.actions for part in _action(action)),
    )


def _source(connector: Connector) -> str:
    """Return the file that declares it."""
    inputs = [*(event.config for event in connector.events), *(action.input for action in connector.actions)]
    return f"{inputs[0].__module__.replace('.', '/')}.py"


def _event(event: Event) -> list[str]:
    return [
        f"## Trigger: {event.title}",
        event.summary,
        "### Settings",
        table_of(event.config),
        "### What steps read as `trigger`",
        example(event.sample),
    ]


def _action(action: Action[Any]) -> list[str]:
    errors = table(["Code", "Cause"], [[code(failure.code), failure.cause] for failure in action.errors])
    return [
        f"## Action: {action.title}",
        action.summary,
        "### Input",
        table_of(action.input),
        "### Output",
        example(action.sample),
        "### If it fails",
        errors if action.errors else "It has no codes of its own; see [what any step can fail with](README.md).",
        "### If the worker dies during it",
        _interrupted(action),
    ]


def _interrupted(action: Action[Any]) -> str:
    if not action.acts:
        return "The step runs again. Nothing is done twice: it changes nothing outside of the execution."
    return INTERRUPTED[action.if_interrupted]
