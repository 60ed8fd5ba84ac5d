"""The WSGI application: it answers trigger URLs and most polls itself and gives all other requests to Django.

A prototype ahead of Django stored 4,200 to 4,900 requests a second on two cores, one behind it about 1,000.
"""

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
from executions.log import polls  # noqa: E402

# Supervisors and Prometheus ask these pages by the machine's address, which ALLOWED_HOSTS need not list.
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
KNOWN_HOST = urlsplit(settings.BASE_URL).netloc


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ.get("PATH_INFO", "").startswith(trigger_url.PREFIX):
        return trigger_url.application(environ, start_response)
    if answer := polls.answer(environ):
        start_response("204 No Content", answer.headers)
        return []
    if environ.get("PATH_INFO") in PROBES:
        environ["HTTP_HOST"] = KNOWN_HOST
    return django_application(environ, start_response)
