"""The web server: `python -m agentos_site.web` runs granian, set up for AgentOS, on HOST and PORT."""

from __future__ import annotations

import os
import resource
import sys

from django.core.exceptions import ImproperlyConfigured

from agentos_site import environment, limits, private_files

STOP_S = 15  # seconds that requests under way get to end: less than service.DRAIN_S
KEPT_FILES = 256  # open files that are no connections of clients: the database's, sockets between processes, modules
BUFFER = 128 * 1024  # bytes of a connection that are read ahead at most
# One arena without caches for granian's allocator (jemalloc): requests are small, and caches would keep 10 MB for
# nothing.
MEMORY = "narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0"


def command() -> list[str]:
    """Return granian's arguments; raise ImproperlyConfigured for a HOST or PORT that is none."""
    return [
        "granian", "--interface", "asgi", "--host", environment.HOST.read(), "--port", str(environment.PORT.read()),
        "--http", "1", "--no-ws", "--loop", "uvloop",
        "--workers", "1",  # requests of one process share commits, and a second one would take cores from the cluster
        "--backlog", "4096", "--backpressure", str(connections()),  # what is beyond waits in the kernel's backlog
        "--respawn-failed-workers", "--workers-kill-timeout", str(STOP_S), "--http1-header-read-timeout", "10000",
        "--http1-buffer-size", str(BUFFER), "--log-level", "error", "agentos_site.asgi:application",
    ]  # fmt: skip


def connections() -> int:
    """Return how many connections may be open at once: as the setting says, and as open files allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limits.CONNECTIONS.read() if soft == resource.RLIM_INFINITY else max(1, soft - KEPT_FILES)
    return min(limits.CONNECTIONS.read(), files)


def raise_file_limit() -> None:
    """Let this process open as many files as the system grants: each waiting caller is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare() -> None:
    """Set the environment that Django and granian's allocator read when they are loaded."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentos_site.settings")
    os.environ.setdefault("_RJEM_MALLOC_CONF", MEMORY)


def serve() -> None:
    """Run the web server in this process until a signal ends it."""
    prepare()
    raise_file_limit()
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
