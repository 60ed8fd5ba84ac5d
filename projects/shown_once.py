"""A secret on its way to the page that shows it once: encrypted in the session until then, and gone after."""

from __future__ import annotations

from django.http import HttpRequest

from projects import sealing


def keep(request: HttpRequest, name: str, secret: str) -> None:
    request.session[f"once:{name}"] = sealing.encrypt(secret)


def take(request: HttpRequest, name: str) -> str | None:
    """Return the secret kept under a name, and forget it."""
    kept = request.session.pop(f"once:{name}", None)
    try:
        return sealing.decrypt(kept) if kept else None
    except sealing.UnreadableSecret:
        return None
