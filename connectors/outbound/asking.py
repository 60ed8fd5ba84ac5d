"""Whose request is made."""

from __future__ import annotations

from contextvars import ContextVar

asker: ContextVar[str] = ContextVar("asker", default="")  # the organization whose request this is
