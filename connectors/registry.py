"""Every connector that this installation knows."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from connectors.sdk.call import Action, Connector

# Modules of this package, in the order in which the builder offers them.
NAMES = (
    "http",
    "schedule",
    "transform",
    "condition",
    "wait",
    "email",
    "response",
)  # add a new one's line above this one

# An operator's own connectors: modules on the Python path, comma-separated, that hold a CONNECTOR each. Read here and
# not from the settings, which connectors do not know; `agentos_site.environment` lists the variable.
OWN = [name.strip() for name in os.environ.get("EXTRA_CONNECTORS", "").split(",") if name.strip()]

CONNECTORS: dict[str, Connector] = {
    module.CONNECTOR.key: module.CONNECTOR
    for module in map(import_module, (*(f"connectors.{name}" for name in NAMES), *OWN))
}


_ACTIONS = {(connector.key, action.key): action for connector in CONNECTORS.values() for action in connector.actions}


def find_action(connector: str, action: str) -> Action[Any] | None:
    """Return an action by its connector's key and its own, or None: a version may name one that is gone."""
    return _ACTIONS.get((connector, action))
