"""Settings, all from the environment; README's configuration table says what each one does.

Safe by default: nothing here needs changing for production but the addresses.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from agentos_site.keys import FIELD_KEYS_FILE, SECRET_KEY_FILE, data_dir

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = data_dir()


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    return text(name, str(default)).lower() in {"1", "true", "yes", "on"}


def listed(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def key(name: str, file: str) -> str:
    """Return a key from the environment or from its file in DATA_DIR."""
    if value := text(name):
        return value
    try:
        return (DATA_DIR / file).read_text().strip()
    except OSError:
        raise ImproperlyConfigured(
            f"{name} is not set, and the file {DATA_DIR / file} cannot be read. For a new installation run "
            "`python -m agentos_site.keys`; for an existing one restore its key."
        ) from None


DEBUG = flag("DEBUG")
SECRET_KEY = key("SECRET_KEY", SECRET_KEY_FILE)
# Encrypts stored secrets; newest first, older ones still decrypt. Never the same as SECRET_KEY, which signs sessions
# and the pickles of django-q2.
FIELD_KEYS = [part for part in key("FIELD_KEYS", FIELD_KEYS_FILE).replace(",", "\n").split() if part]

PORT = int(text("PORT", "8000"))
BASE_URL = text("BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
ALLOWED_HOSTS = listed("ALLOWED_HOSTS", f"127.0.0.1,localhost,[::1],{urlsplit(BASE_URL).hostname}")
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SUPPORT_EMAIL = text("SUPPORT_EMAIL")
OUTBOUND_ALLOW = text("OUTBOUND_ALLOW")
METRICS_TOKEN = text("METRICS_TOKEN")  # empty: no /metrics

INSTALLED_APPS = [
    "projects",
    "automations",
    "executions",  # before django_q: its `qcluster` command wins
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "agentos_site.middleware.request_id",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "agentos_site.middleware.sign_in_on_a_page_of_its_own",
    "agentos_site.middleware.DatabaseAway",
]

ROOT_URLCONF = "agentos_site.urls"
WSGI_APPLICATION = "agentos_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS.insert(0, "django.forms")

DATABASES = {"default": dj_database_url.parse(text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'agentos.sqlite3'}"))}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: an accepted request survives a power cut; under group commit it costs no more than NORMAL.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;",
    }
else:
    # A server that vanishes without a word is noticed after about a lease, not after hours; DATABASE_URL may differ.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,  # milliseconds
    } | DATABASES["default"].get("OPTIONS", {})
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

Q_CLUSTER = {
    "name": "agentos",
    "orm": "default",
    "workers": int(text("WORKERS", "2")),
    "timeout": 60,
    "retry": 120,  # above timeout, or a running task is delivered twice
    "poll": 1,
    "save_limit": -1,  # a positive limit reads every success key at each save
    "ack_failures": True,
    "max_attempts": 1,  # housekeeping runs again by its schedule, not by redelivery
    "recycle": 10**9,  # a recycled worker would take its engine along
    "catch_up": False,
    "guard_cycle": 0.5,
    "label": "Housekeeping",
}
ENGINE_SLOTS = int(text("ENGINE_SLOTS", "1000"))  # executions that one engine runs at once
ENGINE_DRAIN_S = 15  # how long SIGTERM waits for steps to end; everything is over within 20 s (service.py)
REPLY_LIMIT_S = float(text("REPLY_LIMIT_S", "30"))  # how long a caller waits for a Response step, then 504
BODY_LIMIT = int(text("BODY_LIMIT", str(3 * 1024 * 1024)))
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "projects:list"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # nothing names the others; without them the first start is 5 s shorter
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

MAIL_URL = urlsplit(text("EMAIL_URL", "smtp://localhost:25"))
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": MAIL_URL.hostname or "localhost",
            "port": MAIL_URL.port or 25,
            "username": unquote(MAIL_URL.username or ""),
            "password": unquote(MAIL_URL.password or ""),
            "use_ssl": MAIL_URL.scheme == "smtps",
            "use_tls": MAIL_URL.scheme == "smtp+tls",
            "timeout": 20,
        },
    },
}
DEFAULT_FROM_EMAIL = text("FROM_EMAIL", f"agentos@{urlsplit(BASE_URL).hostname}")

IS_HTTPS = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_NAME = f"agentos_session_{PORT}"  # two installations on one host do not sign each other out
CSRF_COOKIE_NAME = f"agentos_csrf_{PORT}"
SECURE_SSL_REDIRECT = IS_HTTPS and flag("SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # a redirect would look healthy to who probes over plain HTTP
SECURE_HSTS_SECONDS = int(text("HSTS_SECONDS", "31536000" if IS_HTTPS else "0"))
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if flag("TRUST_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "object-src": [CSP.NONE],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": text("LOG_LEVEL", "INFO")},
}
