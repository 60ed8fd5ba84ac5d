"""Housekeeping that django-q2's workers do beside their engines. Tasks take ids only."""

from __future__ import annotations
