"""The web server: `python -m agentos_site.web` runs granian, set up for AgentOS, on HOST and PORT."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured

from agentos_site import environment, private_files

THREADS = 64  # each serves one request, which may wait for its commit or for a reply
STOP_S = 15  # seconds that requests under way get to end: less than service.DRAIN_S
# One arena without caches for granian's allocator (jemalloc): requests are small, and the caches of 64 threads would
# keep 10 MB for nothing.
MEMORY = "narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0"


def command() -> list[str]:
    """Return granian's arguments; raise ImproperlyConfigured for a HOST or PORT that is none."""
    return [
        "granian", "--interface", "wsgi", "--host", environment.HOST.read(), "--port", str(environment.PORT.read()),
        "--http", "1", "--no-ws",
        "--workers", "1",  # requests of one process share commits, and a second one would take cores from the cluster
        "--blocking-threads", str(THREADS), "--backlog", "2048", "--respawn-failed-workers", "--workers-kill-timeout",
        str(STOP_S), "--http1-header-read-timeout", "10000", "--log-level", "error", "agentos_site.wsgi:application",
    ]  # fmt: skip


def prepare() -> None:
    """Set the environment that Django and granian's allocator read when they are loaded."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
    os.environ.setdefault("_RJEM_MALLOC_CONF", MEMORY)


def serve() -> None:
    """Run the web server in this process until a signal ends it."""
    prepare()
    from granian.cli import entrypoint

    sys.argv = command()
    entrypoint()  # type: ignore[no-untyped-call]


def main() -> None:
    """Serve, or end with the sentence of a setting that is wrong: granian would start its worker again and again."""
    try:
        private_files.keep_private()
        from agentos_site import settings  # noqa: F401
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    serve()


if __name__ == "__main__":
    main()
