"""DATABASE_URL: an SQLite file, or a PostgreSQL as its own programs take it: several hosts, TLS, any parameter."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

POSTGRESQL = re.compile(r"(postgres|postgresql|pgsql)://")
NAMES = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}  # Django's, libpq's
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
SYSTEM = "system"  # in place of a file in sslrootcert: the system's certificates
NOWHERE = "/nonexistent"  # a folder without a socket: nothing is connected to
NUMBERS = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
CONNECTING = "connection to server"  # begins what libpq says once it has checked all values


def check(text: str) -> str:
    """Return the URL; raise ValueError for one that is none, ImproperlyConfigured for a parameter's wrong value."""
    if POSTGRESQL.match(text):
        _check_values(_parameters(text))
    elif urlsplit(text).scheme != "sqlite":
        raise ValueError
    return text


def configuration(url: str) -> dict[str, Any]:
    """Return Django's entry of the database."""
    if not POSTGRESQL.match(url):
        import dj_database_url

        return dict(dj_database_url.parse(url))
    given = _parameters(url)
    named = {name: given.pop(parameter, "") for name, parameter in NAMES.items()}
    return {"ENGINE": "django.db.backends.postgresql", **named, "OPTIONS": given}


def _parameters(url: str) -> dict[str, Any]:
    """Return libpq's parameters of a URL by their names; raise ValueError."""
    from psycopg import ProgrammingError  # here: `make run` reads PORT before it has loaded anything
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo_to_dict(POSTGRESQL.sub("postgresql://", url, count=1))
    except ProgrammingError:  # its text may quote a password
        raise ValueError from None


def _check_values(given: dict[str, Any]) -> None:
    """Have libpq check the values; it does so before it connects, which leads nowhere here."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    for name in FILES:
        if (path := given.get(name)) and path != SYSTEM and not os.access(path, os.R_OK):
            raise ImproperlyConfigured(f"DATABASE_URL: the file {path} ({name}) cannot be read.")
    for name in NUMBERS:
        if name in given and not str(given[name]).isdigit():
            raise ImproperlyConfigured(f"DATABASE_URL: {name} must be a whole number.")
    hosts = ",".join([NOWHERE] * (str(given.get("host", "")).count(",") + 1))
    tried = pq.PGconn.connect_start(make_conninfo(**{**given, "host": hosts, "hostaddr": ""}).encode())
    said = tried.get_error_message().strip().splitlines()[0]
    tried.finish()
    if said.startswith(CONNECTING):
        return
    if "port" in said:  # not quoted: the port of a wrong URL may be part of a password
        raise ValueError
    raise ImproperlyConfigured(f"DATABASE_URL: {said}.")
