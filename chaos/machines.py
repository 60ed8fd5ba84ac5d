"""Several machines, each with a web server and a cluster, and one PostgreSQL with a standby that all of them reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chaos.scene import Scene, disks_for, echo_server, end, settings_of, started
from harness.clocks import HostClock
from harness.databases import PostgresqlDatabase
from harness.hosts import NETWORK, OUTSIDE, Host
from harness.installation import Installation
from harness.postgresql import Missing
from harness.processes import free_port
from harness.standby import pair

SLOTS = "20"  # so few that work waits in a rush, also for engines that have lost their lease and do not know it yet


@contextmanager
def machines(directory: Path, count: int, **settings: str) -> Iterator[Scene]:
    """Start so many machines within the block; `harness.hosts.separate` has been called."""
    with ExitStack() as stack:
        servers = stack.enter_context(pair(address=OUTSIDE))
        database = PostgresqlDatabase(servers.url)
        mail_port = free_port()
        common = settings_of(mail_port, settings, OUTSIDE) | {
            "HOST": "0.0.0.0", "OUTBOUND_ALLOW": NETWORK, "ENGINE_SLOTS": SLOTS,
        }  # fmt: skip
        folders = [directory / f"data-{number}" for number in range(1, count + 1)]
        disks = disks_for(stack, folders)
        places: list[Installation] = []
        clocks: dict[str, HostClock] = {}
        for number, folder in enumerate(folders, 1):
            place = (
                places[0].copy(folder, database)
                if places
                else Installation(folder, database, **common)
            )  # fmt: skip
            _move(stack, place, Host(f"machine-{number}", number), directory / f"logs-{number}")
            with suppress(Missing):  # no C compiler
                clocks[place.name] = HostClock(directory, f"clock-{number}")
                place.settings |= clocks[place.name].environment
            if not places:
                place.prepare()
            places.append(place)
        built = Scene(directory, places, *echo_server(stack, directory, mail_port, address=OUTSIDE), servers.primary)
        built.pair, built.clocks = servers, clocks
        built.disks = disks
        yield started(built)


def _move(stack: ExitStack, place: Installation, host: Host, logs: Path) -> None:
    """Let the processes of an installation run on a machine, and end them before it."""
    stack.callback(host.end)
    stack.callback(end, place)
    logs.mkdir()
    place.host, place.address, place.log_folder = host, host.address, logs
    place.settings |= {"ALLOWED_HOSTS": host.address}
