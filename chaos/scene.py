"""The installation under attack: database, web server and cluster, and the echo server, which outlives them all."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from chaos import names, plan
from harness import hosts, postgresql
from harness.automations import Made, make
from harness.clocks import HostClock
from harness.databases import Database, PostgresqlDatabase, SqliteDatabase
from harness.disks import Disk, Missing, disk
from harness.hosts import Host
from harness.installation import Installation
from harness.processes import Process, descendants, free_port, is_running, until
from harness.standby import Pair

USERS = 5
LEASE_S = 10.0  # unless LEASE_S is set


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine's row: `pid` is its process's number here, 0 when that has ended."""

    id: str
    pid: int
    place: str
    is_quarantine: bool


@dataclass
class Scene:
    directory: Path
    places: list[Installation]  # one for each machine, with one database
    echo: Process
    echo_port: int
    server: postgresql.Server | None = None  # of PostgreSQL
    has_names: bool = False  # of its own
    pair: Pair | None = None  # of servers: `server`, and its standby
    clocks: dict[str, HostClock] = field(default_factory=dict)  # of machines
    disks: dict[str, Disk] = field(default_factory=dict)  # small ones, by the DATA_DIR that they hold
    made: Made = field(init=False)
    tokens: list[str] = field(init=False)
    schedule_asked_for: float = field(init=False)
    schedule_start: float = field(init=False)
    schedule_end: float = 0.0
    schedule_stopped: float = 0.0

    def __post_init__(self) -> None:
        self._turns = cycle(self.places)

    @property
    def installation(self) -> Installation:
        """Return the first machine's installation, for what concerns the database."""
        return self.places[0]

    @property
    def hosts(self) -> list[Host]:
        return [place.host for place in self.places if place.host]

    @property
    def offers(self) -> frozenset[str]:
        """Return what faults may need."""
        return frozenset(
            {self.installation.backend}
            | ({"hosts"} if len(self.hosts) > 1 else set())
            | ({"disk"} if self.disks else set())
            | ({"standby"} if self.pair else set())
            | ({"clocks"} if self.clocks else set())
        )

    @property
    def lease_s(self) -> float:
        return float(self.installation.settings.get("LEASE_S", LEASE_S))

    def disk_of(self, place: Installation) -> Disk:
        return self.disks[str(place.directory)]

    @property
    def effects(self) -> Path:
        return self.directory / "effects.jsonl"

    @property
    def mails(self) -> Path:
        return self.directory / "mails.jsonl"

    @property
    def outside(self) -> str:
        """Return the address of this process as the machines see it."""
        return hosts.OUTSIDE if self.hosts else "127.0.0.1"

    @property
    def echo_url(self) -> str:
        """Return the address that steps call: by name, if the trial has a name server."""
        host = names.KNOWN.decode() if self.has_names else self.outside
        return f"http://{host}:{self.echo_port}"

    def arm(self, pids: list[int]) -> None:
        """Let the echo server kill these processes when it has recorded the next call, before it answers."""
        request = urllib.request.Request(f"http://{self.outside}:{self.echo_port}/-/arm", json.dumps(pids).encode())
        urllib.request.urlopen(request, timeout=5).close()

    def engines(self, place: Installation | None = None) -> list[Engine]:
        """Return the engines that have a lease, those of one machine with `place`."""
        rows = self.installation.query("SELECT id, boot_id, pid, is_quarantine FROM executions_engine ORDER BY pid")
        machines = {f":{each.host.id}": (each.name, each.host.processes()) for each in self.places if each.host}
        found = []
        for row in rows:
            name, processes = machines.get(row["boot_id"][row["boot_id"].rfind(":") :], ("", None))
            pid = row["pid"] if processes is None else processes.get(row["pid"], 0)
            found.append(Engine(str(row["id"]), pid if is_running(pid) else 0, name, bool(row["is_quarantine"])))
        return [engine for engine in found if place is None or engine.place == place.name]

    def workers(self, place: Installation | None = None) -> list[int]:
        """Return the processes of the engines, by their numbers here."""
        return [engine.pid for engine in self.engines(place) if engine.pid]

    @property
    def user(self) -> str:
        """Return the name of an owner, which is the password too."""
        return "chaos0"

    def memory_mb(self) -> dict[str, float]:
        """Return the memory of each process; pages that several share count once in all."""
        engines = {row["pid"]: "engine" for row in self.installation.query("SELECT pid FROM executions_engine")}
        found = {}
        for place in self.places:
            for root, kind in ((place.web, "web"), (place.cluster, "cluster")):
                for pid in [root.pid, *descendants(root.pid)] if root else []:
                    found[f"{engines.get(pid, kind)} {pid}"] = _pss_mb(pid)
        return found

    def connections(self) -> int:
        return sum(self.connections_by_client().values())

    def connections_by_client(self) -> dict[str, int]:
        """Return the connections to PostgreSQL by address and last statement."""
        if self.server is None:
            return {}
        sql = (
            "SELECT host(client_addr) || ' after ' || left(query, 40) AS who, COUNT(*) AS n FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1"
        )
        return {row["who"]: int(row["n"]) for row in self.installation.query(sql)}

    def start(self) -> None:
        with ThreadPoolExecutor(len(self.places)) as pool:
            list(pool.map(Installation.start, self.places))
        steps = {name: kind.steps for name, kind in plan.KINDS.items()}
        self.made = make(self.installation, steps, direct_limit=None)
        self.schedule_asked_for = time.time()
        self.tokens = self.installation.call("chaos.inside.furnish", str(self.made.project), plan.CANARY, USERS)
        self.schedule_start = time.time()

    def stop_schedule(self) -> None:
        """Deactivate the scheduled automation, so that no execution starts while the checker reads."""
        self.schedule_end = time.time()
        self.installation.call("chaos.inside.stop_schedule")
        self.schedule_stopped = time.time()

    @property
    def schedule_kept(self) -> tuple[float, float]:
        return self.schedule_start, self.schedule_end or time.time()

    @property
    def schedule_possible(self) -> tuple[float, float]:
        return self.schedule_asked_for, self.schedule_stopped or time.time()

    def press_retry(self, execution_id: str, token: str) -> int:
        """Press Retry Execution as a user's machine would; return the answer's status, 0 when there was none."""
        place = next(self._turns)
        url = f"{place.url}/v1/projects/{self.made.project}/executions/{execution_id}/retry"
        headers = {"authtoken": token, "organization_uid": str(self.made.organization)}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b"", headers), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def end(installation: Installation) -> None:
    """End all processes; the trial has reported leftovers already."""
    installation.kill()
    with suppress(AssertionError):
        installation.check_leftovers()


@contextmanager
def scene(
    database: str, directory: Path, prepared: Installation | None = None, *, has_disk: bool = False, **settings: str
) -> Iterator[Scene]:
    """Start everything on this machine, with keys and static files of `prepared`; leave no process behind.

    With `has_disk` the data has a disk of its own, if one can be made.
    """
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.server()) if database == "postgresql" else None
        data = directory / "data"
        disks = disks_for(stack, [data], is_wanted=has_disk)
        made: Database = PostgresqlDatabase(server.url) if server else SqliteDatabase(data)
        mail_port = free_port()
        given = settings_of(mail_port, settings)
        place = prepared.copy(data, made, **given) if prepared else Installation(data, made, **given)
        stack.callback(end, place)
        place.log_folder = directory
        has_names = names.are_possible(directory)
        if has_names:
            place.prefix = [sys.executable, "-m", "chaos.names", str(directory / "resolv.conf")]
        place.prepare()
        echo = echo_server(stack, directory, mail_port, names.own_address() if has_names else "")
        yield started(Scene(directory, [place], *echo, server, has_names, disks=disks))


def disks_for(stack: ExitStack, folders: list[Path], *, is_wanted: bool = True) -> dict[str, Disk]:
    """Make folders for data, each with a disk of its own if that is possible."""
    disks = {}
    for folder in folders:
        folder.mkdir(mode=0o700)
        with suppress(Missing):
            if is_wanted:
                disks[str(folder)] = stack.enter_context(disk(folder))
    return disks


def settings_of(mail_port: int, more: dict[str, str], address: str = "127.0.0.1") -> dict[str, str]:
    return {"WORKERS": "2", "EXTRA_CONNECTORS": "harness.faulty", "EMAIL_URL": f"smtp://{address}:{mail_port}"} | more


def echo_server(
    stack: ExitStack, directory: Path, mail_port: int, name_server: str = "", address: str = "127.0.0.1"
) -> tuple[Process, int]:
    """Start the outside world; return it with its port."""
    port = free_port()
    echo = Process(
        [sys.executable, "-m", "chaos.echo", address, str(port), str(directory / "effects.jsonl"),
         str(mail_port), str(directory / "mails.jsonl"), name_server],
        environment=os.environ, log=directory / "echo.log",
    )  # fmt: skip
    stack.callback(echo.kill)
    return echo, port


def started(built: Scene) -> Scene:
    until(lambda: _listens(built), what="the echo server listens")
    built.start()
    return built


def _listens(built: Scene) -> bool:
    try:
        built.arm([])
    except OSError:
        return False
    return True
