"""Every connector that this installation knows: add a new one's line here."""

from __future__ import annotations

from typing import Any

from connectors import condition, email, http, response, transform, wait
from connectors.call import Action, Connector

CONNECTORS: dict[str, Connector] = {
    module.CONNECTOR.key: module.CONNECTOR for module in (http, transform, condition, wait, email, response)
}


def find_action(connector: str, action: str) -> Action[Any] | None:
    found = CONNECTORS.get(connector)
    return found.action(action) if found else None
