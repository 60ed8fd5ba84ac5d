"""Django's WSGI application, for pages, the API and probes; `asgi.py` answers trigger URLs and polls ahead of it."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
application = get_wsgi_application()
