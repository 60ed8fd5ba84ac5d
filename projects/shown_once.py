"""A secret on its way to the page that shows it once.

A POST makes the secret, and the page after its redirect shows it. In between the secret lies in the session, which is a
row of the database, so it is encrypted there too.
"""

from __future__ import annotations

from django.http import HttpRequest

from projects import sealing
from projects.sealing import Purpose


def keep(request: HttpRequest, name: str, secret: str) -> None:
    """Keep a secret for the next page that takes it by this name."""
    request.session[f"once:{name}"] = sealing.encrypt(secret, Purpose.SHOWN_ONCE, str(request.user.pk), name)


def take(request: HttpRequest, name: str) -> str | None:
    """Return the secret kept under a name and forget it; None when there is none, or its key is gone meanwhile."""
    kept = request.session.pop(f"once:{name}", None)
    try:
        return sealing.decrypt(kept, Purpose.SHOWN_ONCE, str(request.user.pk), name) if kept else None
    except sealing.UnreadableSecret:
        return None
