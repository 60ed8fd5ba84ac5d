"""Several machines, each with a web server and a cluster, and one PostgreSQL that all of them reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.scene import Scene, echo_server, end, settings_of, started
from harness import postgresql
from harness.databases import PostgresqlDatabase
from harness.disks import disk
from harness.hosts import NETWORK, OUTSIDE, Host
from harness.installation import Installation
from harness.processes import free_port


@contextmanager
def machines(directory: Path, count: int, **settings: str) -> Iterator[Scene]:
    """Start so many machines within the block; `harness.hosts.separate` has been called."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.server(address=OUTSIDE))
        database = PostgresqlDatabase(server.url)
        mail_port = free_port()
        common = settings_of(mail_port, settings, OUTSIDE) | {"HOST": "0.0.0.0", "OUTBOUND_ALLOW": NETWORK}
        disks = [stack.enter_context(disk(directory / f"data-{number}")) for number in range(1, count + 1)]
        places: list[Installation] = []
        for number, each in enumerate(disks, 1):
            place = (
                places[0].copy(each.folder, database)
                if places
                else Installation(each.folder, database, **common)
            )  # fmt: skip
            _move(stack, place, Host(f"machine-{number}", number), directory / f"logs-{number}")
            if not places:
                place.prepare()
            places.append(place)
        built = Scene(directory, places, *echo_server(stack, directory, mail_port, address=OUTSIDE), server)
        built.disks = {str(each.folder): each for each in disks}
        yield started(built)


def _move(stack: ExitStack, place: Installation, host: Host, logs: Path) -> None:
    """Let the processes of an installation run on a machine, and end them before it."""
    stack.callback(host.end)
    stack.callback(end, place)
    logs.mkdir()
    place.host, place.address, place.log_folder = host, host.address, logs
    place.settings |= {"ALLOWED_HOSTS": host.address}
