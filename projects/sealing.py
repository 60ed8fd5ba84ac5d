"""Secrets at rest: encrypted with keys of their own (FIELD_KEYS), never with SECRET_KEY."""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

MASK = "••••••••"


class UnreadableSecret(Exception):
    """The secret was encrypted with a key that this installation does not have."""


@lru_cache(maxsize=1)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(value: str) -> str:
    return _fernet(tuple(settings.FIELD_KEYS)).encrypt(value.encode()).decode()


def decrypt(token: str) -> str:
    try:
        return _fernet(tuple(settings.FIELD_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("A stored secret was encrypted with a key that FIELD_KEYS does not hold.") from None


def new_token(prefix: str) -> str:
    """Return a random token of 32 bytes behind a readable prefix."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return what is stored of an API token: SHA-256, as the token itself is random enough."""
    return hashlib.sha256(token.encode()).hexdigest()
