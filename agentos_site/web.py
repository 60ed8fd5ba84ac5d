"""The web server: `python -m agentos_site.web` runs granian, set up for AgentOS, on HOST and PORT."""

from __future__ import annotations

import os
import sys

from agentos_site import environment

HOST = environment.HOST.read()
PORT = environment.PORT.read()
THREADS = 64  # each serves one request, which may wait for its commit or for a reply
STOP_S = 15  # seconds that requests under way get to end: less than service.DRAIN_S
# One arena without caches for granian's allocator (jemalloc): requests are small, and the caches of 64 threads would
# keep 10 MB for nothing.
MEMORY = "narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0"
# One worker process: requests of one process share commits, and a second process would take cores from the cluster.
COMMAND = [
    "granian", "--interface", "wsgi", "--host", HOST, "--port", str(PORT), "--http", "1", "--no-ws", "--workers", "1",
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

    sys.argv = COMMAND
    entrypoint()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    serve()
