"""The product's settings with throw-away keys and files: nothing that a test does can reach an installation."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from cryptography.fernet import Fernet

directory = tempfile.mkdtemp(prefix="agentos-test-")
os.mkdir(os.path.join(directory, "static"))  # whitenoise warns without it
atexit.register(shutil.rmtree, directory, ignore_errors=True)
for name in ("BASE_URL", "ALLOWED_HOSTS", "EMAIL_URL", "SUPPORT_EMAIL", "PORT", "DEBUG", "TRUST_PROXY"):
    os.environ.pop(name, None)
os.environ |= {
    "DATA_DIR": directory,
    "SECRET_KEY": "only-for-tests-" + "x" * 50,
    "FIELD_KEYS": Fernet.generate_key().decode(),
    "OUTBOUND_ALLOW": "127.0.0.0/8",
}

from agentos_site.settings import *  # noqa: E402, F403  (needs the environment above)
from agentos_site.settings import ALLOWED_HOSTS, DATA_DIR, DATABASES, STORAGES  # noqa: E402

# A file, because the threads under test have connections of their own.
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
if IS_SQLITE:
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"  # nothing here survives a power cut
DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3") if IS_SQLITE else "test_agentos"}
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS.append("testserver")
