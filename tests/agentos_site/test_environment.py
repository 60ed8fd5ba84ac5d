"""Every setting as it is read from the environment: its default, its values, and the rule that a bad value breaks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from agentos_site import environment, limits
from agentos_site.setting_kinds import Setting

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = {setting.name: setting for group in environment.GROUPS for setting in group.settings}
KEY = "A" * 43 + "="  # 32 bytes


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


DEFAULTS = {
    "PORT": 8000, "HOST": "127.0.0.1", "BASE_URL": "http://127.0.0.1:8000", "DATA_DIR": ROOT / "var",
    "ALLOWED_HOSTS": ["127.0.0.1", "localhost", "[::1]", "127.0.0.1"], "OUTBOUND_ALLOW": "",
    "DATABASE_URL": f"sqlite:///{ROOT / 'var' / 'agentos.sqlite3'}", "EMAIL_URL": "smtp://localhost:25",
    "FROM_EMAIL": "agentos@127.0.0.1", "SUPPORT_EMAIL": "", "EXTRA_CONNECTORS": [], "WORKERS": 2,
    "ENGINE_SLOTS": 1000, "REPLY_LIMIT_S": 30.0, "BODY_LIMIT": 3145728, "TRUST_PROXY": False, "SSL_REDIRECT": True,
    "CONNECTIONS": 10_000, "WAITING_CALLERS": 2000, "OPEN_BODIES": 2000, "BODY_MEMORY": 67108864, "BODY_TIME_S": 30.0,
    "COMPUTE_CHILDREN": 2, "COMPUTE_TIME_S": 2, "COMPUTE_MEMORY_MB": 256, "LEASE_S": 10, "LOCK_LIMIT_S": 5,
    "SESSION_HOURS": 12, "SIGN_IN_TRIES": 5, "PASSWORD_HASHES": max(1, (os.cpu_count() or 1) // 2),
    "TRUSTED_PROXIES": 0, "HSTS_SUBDOMAINS": False, "HSTS_PRELOAD": False, "HSTS_SECONDS": 0,
    "METRICS_TOKEN": "", "LOG_LEVEL": "INFO", "DEBUG": False, "QUIET": False,
}  # fmt: skip


@pytest.mark.parametrize("given", [None, "", "  "], ids=["not set", "empty", "spaces"])
@pytest.mark.parametrize("name", DEFAULTS)
def test_setting_has_its_default(name: str, given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if given is not None:
        monkeypatch.setenv(name, given)

    assert SETTINGS[name].read() == DEFAULTS[name]


TWO_HOSTS = "postgresql://u:p@a,b:5433/agentos?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=system"
VALUES = [
    ("PORT", " 8001 ", 8001), ("HOST", "::", "::"), ("BASE_URL", "https://a.example/", "https://a.example"),
    ("ALLOWED_HOSTS", "a.example, b.example,", ["a.example", "b.example"]), ("WORKERS", "8", 8),
    ("DATABASE_URL", "postgres://u:p@db:5432/agentos", "postgres://u:p@db:5432/agentos"),
    ("DATABASE_URL", TWO_HOSTS, TWO_HOSTS),
    ("DATABASE_URL", "sqlite:////srv/a.sqlite3", "sqlite:////srv/a.sqlite3"), ("SECRET_KEY", "abc", "abc"),
    ("FIELD_KEYS", f"{KEY}, {KEY}", [KEY, KEY]), ("OUTBOUND_ALLOW", "10.0.0.0/8:80", "10.0.0.0/8:80"),
    ("EMAIL_URL", "smtp+tls://me:p%40ss@mail.example:587", "smtp+tls://me:p%40ss@mail.example:587"),
    ("REPLY_LIMIT_S", "0.5", 0.5), ("BODY_LIMIT", "1000", 1000), ("HSTS_SECONDS", "0", 0),
    ("LOG_LEVEL", "WARN", "WARN"),
    ("EXTRA_CONNECTORS", "json.decoder, csv", ["json.decoder", "csv"]),
    ("DEBUG", "1", True), ("DEBUG", "Yes", True), ("DEBUG", "on", True),
    ("SSL_REDIRECT", "0", False), ("SSL_REDIRECT", "False", False), ("SSL_REDIRECT", "off", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "value"), VALUES)
def test_setting_reads_its_value(name: str, given: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, given)

    assert SETTINGS[name].read() == value


REFUSED = [
    ("PORT", "80a", "PORT must be a whole number from 1 to 65535, not “80a”."),
    ("PORT", "70000", "PORT must be a whole number from 1 to 65535, not “70000”."),
    ("BASE_URL", "agentos.example.com", "BASE_URL must be a URL such as https://agentos.example.com, not “agentos"),
    ("BASE_URL", "https://a.example:x", "BASE_URL must be a URL such as"),
    ("WORKERS", "0", "WORKERS must be a whole number of at least 1, not “0”."),
    ("CONNECTIONS", "10", "CONNECTIONS must be a whole number of at least 200, not “10”."),
    ("TRUSTED_PROXIES", "-1", "TRUSTED_PROXIES must be a whole number of at least 0, not “-1”."),
    ("ENGINE_SLOTS", "many", "ENGINE_SLOTS must be a whole number of at least 1, not “many”."),
    ("REPLY_LIMIT_S", "0", "REPLY_LIMIT_S must be a number of seconds above 0, not “0”."),
    ("REPLY_LIMIT_S", "nan", "REPLY_LIMIT_S must be a number of seconds above 0, not “nan”."),
    ("BODY_LIMIT", "3 MB", "BODY_LIMIT must be a whole number of at least 1, not “3 MB”."),
    ("HSTS_SECONDS", "-1", "HSTS_SECONDS must be a whole number of at least 0, not “-1”."),
    ("DEBUG", "maybe", "DEBUG must be 1, true, yes or on, or else 0, false, no or off, not “maybe”."),
    ("OUTBOUND_ALLOW", "10.0.0.0/99", "OUTBOUND_ALLOW must be a list of networks, each with an optional port"),
    ("LOG_LEVEL", "info", "LOG_LEVEL must be one of CRITICAL, FATAL, ERROR,"),
    ("DATABASE_URL", "mysql://u:hidden@db/a", "DATABASE_URL must be a URL such as postgres://"),
    ("DATABASE_URL", "postgres://u:p@ss:hidden@db/a", "DATABASE_URL must be a URL such as postgres://"),
    ("DATABASE_URL", "postgres://u:hidden@db/a?ssl=1", "with parameters that libpq knows."),
    ("DATABASE_URL", "postgres://u:hidden@db/a?sslmode=on", 'DATABASE_URL: invalid sslmode value: "on".'),
    ("DATABASE_URL", "postgres://u:hidden@a,b/a?target_session_attrs=x", 'invalid target_session_attrs value: "x".'),
    ("DATABASE_URL", "postgres://db/a?connect_timeout=soon", "DATABASE_URL: connect_timeout must be a whole number."),
    ("DATABASE_URL", "postgres://db/a?sslrootcert=/no.pem", "the file /no.pem (sslrootcert) cannot be read."),
    ("EMAIL_URL", "mail.example:25/hidden", "EMAIL_URL must be a URL such as smtp+tls://"),
    (
        "EXTRA_CONNECTORS",
        "json, no.such.module",
        "EXTRA_CONNECTORS must be a list of Python modules that can be imported",
    ),
    ("FIELD_KEYS", "hidden", "FIELD_KEYS must be Fernet keys (32 bytes in URL-safe base64), separated by commas."),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED)
def test_bad_value_is_refused_by_name_and_rule(
    name: str, given: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, given)

    with pytest.raises(ImproperlyConfigured, match=re.escape(message)) as refused:
        SETTINGS[name].read()

    assert "hidden" not in str(refused.value), "a secret is never quoted"


def test_broken_key_file_is_refused_by_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / environment.FIELD_KEYS_FILE).write_text("cut off")

    with pytest.raises(ImproperlyConfigured, match="FIELD_KEYS must be Fernet keys"):
        environment.FIELD_KEYS.read()


def test_missing_key_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    with pytest.raises(ImproperlyConfigured, match=r"SECRET_KEY is not set, and .*run `python -m agentos_site.keys`"):
        environment.SECRET_KEY.read()


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-m", "agentos_site"], ["tools/run.py"]], ids=str)
def test_command_says_a_bad_value_in_one_line(command: list[str], tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "SECRET_KEY": "x", "FIELD_KEYS": KEY, "PORT": "80a"}

    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=given, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "PORT must be a whole number from 1 to 65535, not “80a”.\n"


def test_every_variable_that_the_product_reads_is_in_the_list() -> None:
    listed = {name for name, value in {**vars(environment), **vars(limits)}.items() if isinstance(value, Setting)}
    reads = re.compile(r"""os\.environ(?:\.get\(|\[)["']([A-Z][A-Z_]*)["']""")
    packages = ("agentos_site", "executions", "automations", "projects", "connectors")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    read = {name for file in files for name in reads.findall(file.read_text())}

    assert listed == SETTINGS.keys(), "each is in a group, under its own name"
    assert SETTINGS.keys() == DEFAULTS.keys() | {"SECRET_KEY", "FIELD_KEYS"}, "each default is tested"
    assert read - {"Q_CLUSTER_NAME", "TZ"} <= SETTINGS.keys()  # django-q2's own, set by its command; the system's
