"""Secrets at rest: encrypted with FIELD_KEYS, so that nobody who has only the database can read them.

Never with SECRET_KEY: that one is replaced whenever sessions have to end, and would take every secret with it.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

# One length for all, which tells nothing about the secret's own.
MASK = "••••••••"


class UnreadableSecret(Exception):
    """The secret was encrypted with a key that this installation does not have."""


@lru_cache(maxsize=1)  # with the keys as its argument, because tests change the setting
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(value: str) -> str:
    """Return a token that `decrypt` reads, made with the newest of FIELD_KEYS."""
    return _fernet(tuple(settings.FIELD_KEYS)).encrypt(value.encode()).decode()


def decrypt(token: str) -> str:
    """Return the text that was encrypted with one of FIELD_KEYS; raise UnreadableSecret for any other token."""
    try:
        return _fernet(tuple(settings.FIELD_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("A stored secret was encrypted with a key that FIELD_KEYS does not hold.") from None


def new_token(prefix: str) -> str:
    """Return a random token of 32 bytes behind a readable prefix."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return the SHA-256 of an API token, the stored form; only passwords, which can be guessed, need a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()
