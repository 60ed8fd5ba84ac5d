"""The type of a setting, and the kinds of value: each kind reads a text, or names the rule that the text breaks."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from agentos_site import database_url

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind[T]:
    """How a text of the environment becomes a value.

    `read` raises ValueError for a text that breaks the rule; `rule` completes the sentence "PORT must be ...".
    """

    name: str
    rule: str
    read: Callable[[str], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting[T]:
    """One variable of the environment.

    `default` is a function where it depends on other settings or on a file; `default_in_words` then describes it.
    The value of a secret is never quoted in an error.
    """

    name: str
    kind: Kind[T]
    default: T | Callable[[], T]
    meaning: str
    default_in_words: str = ""
    is_secret: bool = False

    def read(self) -> T:
        """Return the value; raise ImproperlyConfigured naming the variable and the rule that its text breaks."""
        given = os.environ.get(self.name, "").strip()
        try:
            if given:
                return self.kind.read(given)
            return self.default() if callable(self.default) else self.default
        except ValueError:
            quoted = f", not “{given[:80]}”" if given and not self.is_secret else ""
            raise ImproperlyConfigured(f"{self.name} must be {self.kind.rule}{quoted}.") from None


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together, under one heading of docs/configuration.md."""

    title: str
    settings: tuple[Setting[Any], ...]


# --- the kinds


def _switch(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise ValueError
    return text.lower() in YES


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _modules(text: str) -> list[str]:
    names = _items(text)
    with suppress(ImportError):  # of a package above a module
        if all(find_spec(name) for name in names):
            return names
    raise ValueError


def _url(*schemes: str) -> Callable[[str], str]:
    """Return a check of a URL's scheme, host and port; the text itself is the value."""

    def read(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError
        _ = parts.port  # raises ValueError unless the port is a number from 0 to 65535
        return text

    return read


def _fernet_keys(text: str) -> list[str]:
    keys = text.replace(",", "\n").split()
    if not keys or any(len(base64.urlsafe_b64decode(key)) != 32 for key in keys):
        raise ValueError
    return keys


def _networks(text: str) -> str:
    from connectors.outbound.addresses import parse_allow  # here: `make run` reads PORT before it has loaded anything

    parse_allow(text)
    return text


def _level(text: str) -> str:
    if text not in logging.getLevelNamesMapping():
        raise ValueError
    return text


def whole(least: int, most: int | None = None) -> Kind[int]:
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise ValueError
        return value

    return Kind("whole number", f"a whole number {span}", read)


def _seconds(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ValueError
    return value


TEXT = Kind("text", "a text", str)
SWITCH = Kind("switch", "1, true, yes or on, or else 0, false, no or off", _switch)
LIST = Kind("list", "a list separated by commas", _items)
MODULES = Kind("list", "a list of Python modules that can be imported, separated by commas", _modules)
SECONDS = Kind("seconds", "a number of seconds above 0", _seconds)
FOLDER = Kind("folder", "a folder", lambda text: Path(text).resolve())
ADDRESS = Kind("URL", "a URL such as https://agentos.example.com", lambda text: _url("http", "https")(text).rstrip("/"))
DATABASE = Kind(
    "URL",
    "a URL such as postgres://user:password@host/name or sqlite:////folder/file, with parameters that libpq knows",
    database_url.check,
)
MAIL_SERVER = Kind(
    "URL",
    "a URL such as smtp+tls://user:password@mail.example.com:587, beginning with smtp://, smtp+tls:// or smtps://",
    _url("smtp", "smtps", "smtp+tls"),
)
KEYS = Kind("list", "Fernet keys (32 bytes in URL-safe base64), separated by commas", _fernet_keys)
NETWORKS = Kind("list", "a list of networks, each with an optional port, such as 10.0.0.0/8:8080", _networks)
LEVEL = Kind("level", f"one of {', '.join(logging.getLevelNamesMapping())}", _level)
