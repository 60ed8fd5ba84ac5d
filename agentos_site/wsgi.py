"""The web server's entry: trigger URLs ahead of Django's handler, everything else behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402

from executions.intake import trigger_url  # noqa: E402  (needs the settings)

PROBES = frozenset(("/healthz", "/readyz", "/metrics"))  # asked by this machine's address, whatever that is
KNOWN_HOST = urlsplit(settings.BASE_URL).netloc


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ.get("PATH_INFO", "").startswith(trigger_url.PREFIX):
        return trigger_url.application(environ, start_response)
    if environ.get("PATH_INFO") in PROBES:
        environ["HTTP_HOST"] = KNOWN_HOST
    return django_application(environ, start_response)
