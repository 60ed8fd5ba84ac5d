"""The web server: `python -m agentos_site.web` runs granian, set up for AgentOS, on HOST and PORT."""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from agentos_site import limits, port, private_files
from executions.engine.forks import guard_forks
from executions.engine.host import raise_file_limit

STOP_S = 15  # seconds that requests under way get to end: less than service.DRAIN_S
KEPT_FILES = 256  # open files that are no connections of clients: the database's, sockets between processes, modules
BUFFER = 128 * 1024  # bytes of a connection that are read ahead at most
HEADER_MS = 10_000  # that a request's head may take to arrive
# One arena without caches for granian's allocator (jemalloc): requests are small, and caches would keep 10 MB for
# nothing.
MEMORY = "narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0"


def options() -> dict[str, Any]:
    """Return granian's options."""
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    return {
        "interface": Interfaces.ASGI,
        "http": HTTPModes.http1,
        "websockets": False,
        "loop": Loops.uvloop,
        "workers": 1,  # requests of one process share commits, and a second one would take cores from the cluster
        "backlog": port.BACKLOG,
        "backpressure": connections(),  # what is beyond waits in the kernel's backlog
        "respawn_failed_workers": True,
        "workers_kill_timeout": STOP_S,
        "http1_settings": HTTP1Settings(header_read_timeout=HEADER_MS, max_buffer_size=BUFFER),
        "log_level": LogLevels.error,
    }


def connections() -> int:
    """Return how many connections may be open at once: as the setting says, and as open files allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limits.CONNECTIONS.read() if soft == resource.RLIM_INFINITY else max(1, soft - KEPT_FILES)
    return min(limits.CONNECTIONS.read(), files)


def prepare() -> None:
    """Set the environment that Django and granian's allocator read when they are loaded."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
    os.environ.setdefault("_RJEM_MALLOC_CONF", MEMORY)


def serve() -> None:
    """Run the web server in this process until a signal ends it; exit with the reason if its port is taken."""
    prepare()
    raise_file_limit()
    guard_forks()
    listening = port.take()
    from agentos_site.granian_server import Server

    Server(listening, **options()).serve()


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
