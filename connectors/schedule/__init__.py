"""The Scheduler connector: its rule, and when it fires."""

from __future__ import annotations

from connectors.schedule.rule import CONNECTOR

__all__ = ["CONNECTOR"]
