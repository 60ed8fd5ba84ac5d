"""Django's settings. Those of an installation come from the environment: `agentos_site.environment` lists them.

Safe by default: nothing here needs changing for production but the addresses.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.utils.csp import CSP

from agentos_site import database_url, environment, limits

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = environment.DATA_DIR.read()

DEBUG = environment.DEBUG.read()
SECRET_KEY = environment.SECRET_KEY.read()
# Encrypts stored secrets; newest first, older ones still decrypt. Never the same as SECRET_KEY, which signs sessions
# and the pickles of django-q2.
FIELD_KEYS = environment.FIELD_KEYS.read()
KEY_FILES: list[Path] = [DATA_DIR / environment.SECRET_KEY_FILE, DATA_DIR / environment.FIELD_KEYS_FILE]

QUIET = environment.QUIET.read()  # projects.quiet

PORT = environment.PORT.read()
BASE_URL = environment.BASE_URL.read()
ALLOWED_HOSTS = environment.ALLOWED_HOSTS.read()
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SUPPORT_EMAIL = environment.SUPPORT_EMAIL.read()
OUTBOUND_ALLOW = environment.OUTBOUND_ALLOW.read()
METRICS_TOKEN = environment.METRICS_TOKEN.read()  # empty: no /metrics
EXTRA_CONNECTORS = environment.EXTRA_CONNECTORS.read()  # connectors.registry imports them

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
    "agentos_site.middleware.private",
    "agentos_site.middleware.request_id",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "projects.accounts.sessions.idle_sessions_end",
    "agentos_site.middleware.sign_in_on_a_page_of_its_own",
    "agentos_site.middleware.Away",
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

DATABASES = {"default": database_url.configuration(environment.DATABASE_URL.read())}
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
    # The loss of a server that vanishes silently shows within about the 10 s of a lease, not after hours. Parameters in
    # DATABASE_URL win over these.
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
    "workers": limits.WORKERS.read(),
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
ENGINE_SLOTS = limits.ENGINE_SLOTS.read()  # executions that one engine runs at once
LEASE_S = limits.LEASE_S.read()
LOCK_LIMIT_S = limits.LOCK_LIMIT_S.read()
COMPUTE_CHILDREN = limits.COMPUTE_CHILDREN.read()
COMPUTE_TIME_S = limits.COMPUTE_TIME_S.read()
COMPUTE_MEMORY_MB = limits.COMPUTE_MEMORY_MB.read()
# Seconds of an engine's drain after SIGTERM. Steps get 2 s less (executions/engine/engine.py): the engine needs them to
# cancel the steps that still run. The whole service ends within 20 s (service.py).
ENGINE_DRAIN_S = 15
REPLY_LIMIT_S = limits.REPLY_LIMIT_S.read()  # seconds that a caller waits for a Response step; then 504
BODY_LIMIT = limits.BODY_LIMIT.read()
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT
BODY_TIME_S = limits.BODY_TIME_S.read()
WAITING_CALLERS = limits.WAITING_CALLERS.read()  # of one organization
OPEN_BODIES = limits.OPEN_BODIES.read()  # of one organization, or of one client address
BODY_MEMORY = limits.BODY_MEMORY.read()
TRUSTED_PROXIES = environment.TRUSTED_PROXIES.read()

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
PASSWORD_HASHERS = ["projects.accounts.hashing.Hasher"]
PASSWORD_HASHES = limits.PASSWORD_HASHES.read()  # computed at a time
SIGN_IN_TRIES = limits.SIGN_IN_TRIES.read()
PASSWORD_RESET_TIMEOUT = 3600  # seconds in which the link of an e-mail sets a new password
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "projects:list"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700  # of static files: Django's own are open
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # nothing names the others; without them the first start is 5 s shorter
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "agentos_site.static_files.StaticFiles"},
}

MAIL_URL = urlsplit(environment.EMAIL_URL.read())
MAIL_OPTIONS = {
    "host": MAIL_URL.hostname or "localhost",
    "port": MAIL_URL.port or 25,
    "username": unquote(MAIL_URL.username or ""),
    "password": unquote(MAIL_URL.password or ""),
    "use_ssl": MAIL_URL.scheme == "smtps",
    "use_tls": MAIL_URL.scheme == "smtp+tls",
}
MAILERS = {
    # Of steps: a large e-mail takes its time. And what AgentOS itself writes: short, and the next one waits for it.
    "default": {"BACKEND": "projects.smtp.Backend", "OPTIONS": {**MAIL_OPTIONS, "timeout": 20, "total_s": 60}},
    "notices": {"BACKEND": "projects.smtp.Backend", "OPTIONS": {**MAIL_OPTIONS, "timeout": 5, "total_s": 10}},
}
DEFAULT_FROM_EMAIL = environment.FROM_EMAIL.read()

IS_HTTPS = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_AGE = 3600 * limits.SESSION_HOURS.read()
SESSION_COOKIE_NAME = f"agentos_session_{PORT}"  # two installations on one host do not sign each other out
CSRF_COOKIE_NAME = f"agentos_csrf_{PORT}"
SECURE_SSL_REDIRECT = IS_HTTPS and environment.SSL_REDIRECT.read()
SECURE_REDIRECT_EXEMPT = [r"^(readyz|metrics)$"]  # a probe over plain HTTP would take a redirect for health
SECURE_HSTS_SECONDS = environment.HSTS_SECONDS.read()
SECURE_HSTS_INCLUDE_SUBDOMAINS = environment.HSTS_SUBDOMAINS.read()
SECURE_HSTS_PRELOAD = environment.HSTS_PRELOAD.read()
# Both speak for hosts that are not ours to speak for; an operator who owns them switches them on.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if environment.TRUST_PROXY.read():
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
    "root": {"handlers": ["console"], "level": environment.LOG_LEVEL.read()},
}
