"""Every connector that this installation knows: add a new one's line here."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from connectors import condition, email, http, response, transform, wait
from connectors.schedule import rule as schedule
from connectors.sdk.call import Action, Connector

# An operator's own connectors: modules on the Python path, comma-separated, that hold a CONNECTOR each.
OWN = [import_module(name.strip()) for name in os.environ.get("EXTRA_CONNECTORS", "").split(",") if name.strip()]

CONNECTORS: dict[str, Connector] = {
    module.CONNECTOR.key: module.CONNECTOR
    for module in (http, schedule, transform, condition, wait, email, response, *OWN)
}


def find_action(connector: str, action: str) -> Action[Any] | None:
    found = CONNECTORS.get(connector)
    return found.action(action) if found else None
