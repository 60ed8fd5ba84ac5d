"""Secrets at rest: encrypted with FIELD_KEYS, so that nobody who has only the database can read them.

Never with SECRET_KEY: that one is replaced whenever sessions have to end, and would take every secret with it.

Each ciphertext is bound to its purpose and place. The key that encrypts it (AES-256-GCM) is derived from a field key,
the purpose and the place, so a ciphertext that is copied to another project, row or execution opens there for nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

# One length for all, which tells nothing about the secret's own.
MASK = "••••••••"
FORM = b"\x02"  # the first byte of a token; a Fernet token, the form before this one, begins with 0x80
KEY_ID, NONCE = 4, 12  # bytes of a token that name its key, and that are random


class Purpose(StrEnum):
    """What a ciphertext is for, and after it the place that it is bound to. A new purpose is one line here."""

    VARIABLE = "variable"  # project, key
    TRIGGER_SECRET = "trigger secret"  # trigger
    ECHO = "echo"  # execution, in whose step runs the secret stands
    SHOWN_ONCE = "shown once"  # user, name


class UnreadableSecret(Exception):
    """A stored secret cannot be opened: its key is missing, or it was encrypted for another place, or changed."""


def encrypt(value: str, purpose: Purpose, *place: str) -> str:
    """Return a token that `decrypt` opens for the same purpose and place, made with the newest of FIELD_KEYS."""
    key_id, key = next(iter(_keys(tuple(settings.FIELD_KEYS)).items()))
    nonce = os.urandom(NONCE)
    sealed = _cipher(key, purpose, place).encrypt(nonce, value.encode(), None)
    return urlsafe_b64encode(FORM + key_id + nonce + sealed).decode().rstrip("=")


def decrypt(token: str, purpose: Purpose, *place: str) -> str:
    """Return the text of a token; raise UnreadableSecret for one that was made for another purpose or place."""
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    start = len(FORM) + KEY_ID
    if raw[: len(FORM)] != FORM:
        raise UnreadableSecret("A stored secret is not in the form that this release reads.")
    key = _keys(tuple(settings.FIELD_KEYS)).get(raw[len(FORM) : start])
    if key is None:
        raise UnreadableSecret("A stored secret was encrypted with a key that FIELD_KEYS does not hold.")
    try:
        return _cipher(key, purpose, place).decrypt(raw[start : start + NONCE], raw[start + NONCE :], None).decode()
    except (InvalidTag, ValueError):
        raise UnreadableSecret("A stored secret was changed, or encrypted for another place.") from None


@lru_cache(maxsize=1)  # with the keys as its argument, because tests change the setting
def _keys(field_keys: tuple[str, ...]) -> dict[bytes, bytes]:
    """Return the keys by the id that tokens name them with, the newest first."""
    raw = [urlsafe_b64decode(key) for key in field_keys]
    return {hmac.digest(key, b"AgentOS key id", "sha256")[:KEY_ID]: key for key in raw}


def _cipher(key: bytes, purpose: Purpose, place: tuple[str, ...]) -> AESGCM:
    """Return the cipher of a purpose and place: its key is HKDF-Expand of the field key, one block of SHA-256.

    The lengths stand in it too, so that no two places make one text.
    """
    info = "".join(f"{len(part)}:{part}," for part in ("AgentOS", purpose, *place))
    return AESGCM(hmac.digest(key, info.encode() + b"\x01", "sha256"))


def new_token(prefix: str) -> str:
    """Return a random token of 32 bytes behind a readable prefix."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return the SHA-256 of an API token, the stored form; only passwords, which can be guessed, need a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()
