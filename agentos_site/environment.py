"""Every setting of an installation: its name in the environment, its kind, its default and its meaning.

To add one, add it here or in `agentos_site.limits`, to a group, and read it in `agentos_site.settings`;
docs/configuration.md is made from these lists. An empty variable counts as one that is not set.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from agentos_site import limits
from agentos_site.setting_kinds import (
    ADDRESS,
    DATABASE,
    FOLDER,
    KEYS,
    LEVEL,
    LIST,
    MAIL_SERVER,
    MODULES,
    NETWORKS,
    SWITCH,
    TEXT,
    Group,
    Setting,
    whole,
)  # fmt: skip

SECRET_KEY_FILE = "secret.key"
FIELD_KEYS_FILE = "field.keys"


def _from_file(name: str, file: str) -> str:
    """Return the key in a file of DATA_DIR: `python -m agentos_site.keys` makes it once for each installation."""
    path = DATA_DIR.read() / file
    try:
        return path.read_text().strip()
    except OSError:
        raise ImproperlyConfigured(
            f"{name} is not set, and the file {path} cannot be read. For a new installation run "
            "`python -m agentos_site.keys`; for an existing one restore its key."
        ) from None


def _own_host() -> str:
    return urlsplit(BASE_URL.read()).hostname or ""


# --- where people and machines find it

PORT = Setting(name="PORT", kind=whole(1, 65535), default=8000, meaning="Port that the web server listens on.")
HOST = Setting(
    name="HOST",
    kind=TEXT,
    default="127.0.0.1",
    meaning="Address that the web server listens on; `0.0.0.0` for all of this machine's.",
)
BASE_URL = Setting(
    name="BASE_URL",
    kind=ADDRESS,
    default=lambda: f"http://127.0.0.1:{PORT.read()}",
    default_in_words="`http://127.0.0.1:PORT`",
    meaning="Address that people and machines use; trigger URLs begin with it. With `https://`, cookies are secure.",
)
ALLOWED_HOSTS = Setting(
    name="ALLOWED_HOSTS",
    kind=LIST,
    default=lambda: ["127.0.0.1", "localhost", "[::1]", _own_host()],
    default_in_words="this machine and the host of `BASE_URL`",
    meaning="Host names that AgentOS answers to; it refuses requests with another `Host` header.",
)

# --- what it keeps

DATA_DIR = Setting(
    name="DATA_DIR",
    kind=FOLDER,
    default=lambda: Path(__file__).resolve().parent.parent / "var",
    default_in_words="`var/` of the checkout",
    meaning="Folder of the SQLite file, the keys and the static files. Give each installation a folder of its own.",
)
DATABASE_URL = Setting(
    name="DATABASE_URL",
    kind=DATABASE,
    default=lambda: f"sqlite:///{DATA_DIR.read() / 'agentos.sqlite3'}",
    default_in_words="SQLite in `DATA_DIR`",
    is_secret=True,
    meaning="Database: `postgres://user:password@host/name` moves the installation to PostgreSQL 15 or newer "
    "([postgresql.md](postgresql.md): several hosts, TLS, errors).",
)
SECRET_KEY = Setting(
    name="SECRET_KEY",
    kind=TEXT,
    default=lambda: _from_file("SECRET_KEY", SECRET_KEY_FILE),
    default_in_words=f"`DATA_DIR/{SECRET_KEY_FILE}`",
    is_secret=True,
    meaning="Signs sessions and the tasks of django-q2. Keep it secret: whoever has it and the database can run code.",
)
FIELD_KEYS = Setting(
    name="FIELD_KEYS",
    kind=KEYS,
    default=lambda: KEYS.read(_from_file("FIELD_KEYS", FIELD_KEYS_FILE)),
    default_in_words=f"`DATA_DIR/{FIELD_KEYS_FILE}`",
    is_secret=True,
    meaning="Keys that encrypt stored secrets, the newest first; older ones still decrypt. Back them up with the "
    "database: without them the secrets are lost.",
)

QUIET = Setting(
    name="QUIET",
    kind=SWITCH,
    default=False,
    meaning="Starts, calls and sends nothing, as a copy does that AgentOS knows for one ([backup.md](backup.md)). "
    "Switch on to start a copy of a whole disk or of PostgreSQL's files, which cannot be told from the original.",
)

# --- what steps may reach

OUTBOUND_ALLOW = Setting(
    name="OUTBOUND_ALLOW",
    kind=NETWORKS,
    default="",
    default_in_words="empty: public addresses only",
    meaning="Private networks that steps may call, each with an optional port: `10.0.0.0/8:8080,[fd00::/8]:443`.",
)
EMAIL_URL = Setting(
    name="EMAIL_URL",
    kind=MAIL_SERVER,
    default="smtp://localhost:25",
    is_secret=True,
    meaning="Mail server. `smtp://` is plain, `smtp+tls://` starts TLS on the connection, `smtps://` is TLS from the "
    "first byte; a user name and password go before the host, percent-encoded.",
)
FROM_EMAIL = Setting(
    name="FROM_EMAIL",
    kind=TEXT,
    default=lambda: f"agentos@{urlsplit(BASE_URL.read()).hostname}",
    default_in_words="`agentos@` and the host of `BASE_URL`",
    meaning="Sender of all e-mails.",
)
SUPPORT_EMAIL = Setting(
    name="SUPPORT_EMAIL",
    kind=TEXT,
    default="",
    meaning="Address behind *Contact support*, which is shown where the cause of a failure lies outside.",
)
EXTRA_CONNECTORS = Setting(
    name="EXTRA_CONNECTORS",
    kind=MODULES,
    default=list,
    default_in_words="empty",
    meaning="Connectors of your own: Python modules with a `CONNECTOR` each ([connector-sdk.md](connector-sdk.md)).",
)

# --- behind a proxy

TRUST_PROXY = Setting(
    name="TRUST_PROXY",
    kind=SWITCH,
    default=False,
    meaning="Switch on behind a proxy that ends TLS and sets `X-Forwarded-Proto`; never without one.",
)
TRUSTED_PROXIES = Setting(
    name="TRUSTED_PROXIES",
    kind=whole(0),
    default=0,
    meaning="Number of proxies in front that add to `X-Forwarded-For`. A client's address, whose share of the server "
    "its requests use, is then the entry that the outermost of them has added; with `0` it is the connection's.",
)
SSL_REDIRECT = Setting(
    name="SSL_REDIRECT",
    kind=SWITCH,
    default=True,
    meaning="Redirects HTTP to HTTPS. Has no effect unless `BASE_URL` begins with `https://`.",
)
HSTS_SECONDS = Setting(
    name="HSTS_SECONDS",
    kind=whole(0),
    default=lambda: 31_536_000 if BASE_URL.read().startswith("https://") else 0,
    default_in_words="a year with `https://`, else `0`",
    meaning="How long browsers remember to use HTTPS only.",
)

HSTS_SUBDOMAINS = Setting(
    name="HSTS_SUBDOMAINS",
    kind=SWITCH,
    default=False,
    meaning="Asks for HTTPS on all hosts below that of `BASE_URL`, too. Switch on if all of them have it.",
)
HSTS_PRELOAD = Setting(
    name="HSTS_PRELOAD",
    kind=SWITCH,
    default=False,
    meaning="Allows browsers' makers to build the host into their lists, which is hard to undo. They ask for "
    "`HSTS_SUBDOMAINS` and a year of `HSTS_SECONDS` besides.",
)

# --- watching it

METRICS_TOKEN = Setting(
    name="METRICS_TOKEN",
    kind=TEXT,
    default="",
    default_in_words="empty: `/metrics` is 404",
    is_secret=True,
    meaning="Opens `/metrics` to a Prometheus that sends it as `Authorization: Bearer`.",
)
LOG_LEVEL = Setting(name="LOG_LEVEL", kind=LEVEL, default="INFO", meaning="Least severe message that is logged.")
DEBUG = Setting(
    name="DEBUG",
    kind=SWITCH,
    default=False,
    meaning="Shows Django's error pages, with settings and source code, to everybody. For development only.",
)

GROUPS = (
    Group("Addresses", (PORT, HOST, BASE_URL, ALLOWED_HOSTS)),
    Group("Data and keys", (DATA_DIR, DATABASE_URL, SECRET_KEY, FIELD_KEYS, QUIET)),
    Group("The outside world", (OUTBOUND_ALLOW, EMAIL_URL, FROM_EMAIL, SUPPORT_EMAIL, EXTRA_CONNECTORS)),
    *limits.GROUPS,
    Group(
        "Behind a proxy",
        (TRUST_PROXY, TRUSTED_PROXIES, SSL_REDIRECT, HSTS_SECONDS, HSTS_SUBDOMAINS, HSTS_PRELOAD),
    ),
    Group("Watching", (METRICS_TOKEN, LOG_LEVEL, DEBUG)),
)
