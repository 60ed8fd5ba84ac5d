"""`python -m bench --hosts N`: what each part costs with 1 to N service hosts on one PostgreSQL (docs/scale.md).

The hosts are machines of their own by namespaces (`harness.hosts`), but share the cores of this one: CPU for one
execution can be measured so, and rates cannot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench import usage
from harness import postgresql
from harness.databases import PostgresqlDatabase
from harness.hosts import NETWORK, OUTSIDE, Host
from harness.installation import Installation

WARM_UP_S = 1.0
STATISTICS_S = 1.5  # seconds after which PostgreSQL has counted all that its backends have done
CONNECTIONS = 50  # of the load generators together
PARTS = ("web", "cluster", "postgres")


@dataclass(frozen=True, slots=True)
class Sizes:
    runs: int = 3
    seconds: float = 5.0
    idle_seconds: float = 10.0


QUICK = Sizes(runs=2, seconds=2.5, idle_seconds=5.0)


@dataclass
class Fleet:
    """Service hosts that have started, each with a web server and a cluster, and their one PostgreSQL."""

    directory: Path
    server: postgresql.Server
    database: PostgresqlDatabase
    places: list[Installation] = field(default_factory=list)

    def prepare(self) -> Installation:
        """Return an installation on this machine with keys and tables; its processes never start."""
        folder = self.directory / "prepared"
        folder.mkdir()
        common = {"LOG_LEVEL": "WARNING", "HOST": "0.0.0.0", "OUTBOUND_ALLOW": NETWORK}
        self.prepared = Installation(folder, self.database, **os.environ | common)
        self.prepared.prepare()
        return self.prepared

    def add(self) -> dict[str, int]:
        """Start one more host; return the connections to PostgreSQL that its web server and its cluster have then."""
        number = len(self.places) + 1
        folder = self.directory / f"data-{number}"
        folder.mkdir()
        place = self.prepared.copy(folder, self.database)
        place.host = Host(f"host-{number}", number)
        place.address = place.host.address
        place.settings |= {"ALLOWED_HOSTS": place.address}
        self.places.append(place)
        place.start_web()
        self.send("transform", seconds=WARM_UP_S, only=place)
        of_web = self.connections(place)
        place.start_cluster()
        self.send("transform", seconds=WARM_UP_S)
        return {"web": of_web, "cluster": self.connections(place) - of_web}

    def connections(self, place: Installation) -> int:
        found = self.database.query(
            "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE client_addr = %s::inet", [place.address]
        )
        return int(found[0]["n"])

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of each part so far, of all hosts together."""
        used = dict.fromkeys(PARTS, 0.0)
        for place in self.places:
            assert place.web and place.cluster
            used["web"] += usage.cpu_s(place.web.pid)
            used["cluster"] += usage.cpu_s(place.cluster.pid)
        used["postgres"] = usage.cpu_s(self.server.pid)
        return used

    def written(self) -> tuple[float, float]:
        """Return how many KB of log and how many commits the database has written so far."""
        time.sleep(STATISTICS_S)
        row = self.database.query(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bytes, xact_commit FROM pg_stat_database"
            " WHERE datname = current_database()"
        )[0]
        return float(row["bytes"]) / 1024, float(row["xact_commit"])

    def send(self, automation: str, *, seconds: float, only: Installation | None = None) -> tuple[int, int]:
        """Post to all hosts at once, and wait for the ends; return the numbers of executions and of those that failed.

        A host without a cluster has its executions run by others, or by none.
        """
        from bench import rows  # needs Django
        from bench.load import send

        places = [only] if only else self.places
        jobs = [replace(self.jobs[automation], url=self._url(automation, place), seconds=seconds,
                        connections=CONNECTIONS // len(places)) for place in places]  # fmt: skip
        with ThreadPoolExecutor(len(jobs)) as pool:
            seen = list(pool.map(send, jobs))
        first = min(one.first_sent_at for one in seen)
        if any(place.cluster for place in self.places):
            rows.wait_until_final(first, 60)
        tally = rows.tally(first, [id for one in seen for id in one.ids])
        return tally.rows, tally.missing + tally.stuck * any(place.cluster for place in self.places)

    def _url(self, automation: str, place: Installation) -> str:
        return f"{place.url}{urlsplit(self.jobs[automation].url).path}"

    def make_jobs(self) -> None:
        """Make the automations, with Django set up for the database."""
        from bench import measures, seed

        session = measures.Session(self.prepared, seed.seed(), measures.QUICK)  # type: ignore[arg-type]
        self.jobs = {name: session.job(name, 1) for name in ("transform", "respond")}


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Yield a fleet without a host yet; `harness.hosts.separate` has been called."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="agentos-bench-")))
        server = stack.enter_context(postgresql.server(address=OUTSIDE))
        made = Fleet(directory, server, PostgresqlDatabase(server.url))
        stack.callback(_end, made)
        os.environ |= made.prepare().environment | {"DJANGO_SETTINGS_MODULE": "agentos_site.settings"}
        import django

        django.setup()
        made.make_jobs()
        yield made


def _end(made: Fleet) -> None:
    for place in made.places:  # nothing of it is kept, so nothing needs to stop in order
        place.kill()
        assert place.host
        place.host.end()


def measure(count: int, sizes: Sizes) -> Iterator[tuple[int, dict[str, float], int]]:
    """Yield for 1, 2, 4 … and `count` hosts: their number, the figures, and how many executions were lost or stuck."""
    with fleet() as hosts:
        connections: dict[str, int] = {}
        for number in sorted({1, 2, 4, 8, count}):
            if number > count:
                break
            while len(hosts.places) < number:
                connections = hosts.add()
            figures = {f"connections of one {part}": float(value) for part, value in connections.items()}
            figures |= {f"idle: CPU % of a core, {part}": value for part, value in idle(hosts, sizes).items()}
            runs = [loaded(hosts, sizes) for _ in range(sizes.runs)]
            figures |= {name: median(one[name] for one, _ in runs) for name in runs[0][0]}
            yield number, figures, sum(lost for _, lost in runs)


def idle(hosts: Fleet, sizes: Sizes) -> dict[str, float]:
    before, began = hosts.cpu_s(), time.monotonic()
    time.sleep(sizes.idle_seconds)
    used, lasted = hosts.cpu_s(), time.monotonic() - began
    return {part: 100 * (used[part] - before[part]) / lasted for part in PARTS}


def loaded(hosts: Fleet, sizes: Sizes) -> tuple[dict[str, float], int]:
    """Return what one execution costs, and the number of those that were lost."""
    written, before = hosts.written(), hosts.cpu_s()
    count, lost = hosts.send("transform", seconds=sizes.seconds)
    used, wrote = hosts.cpu_s(), hosts.written()
    each = {part: 1000 * (used[part] - before[part]) / max(1, count) for part in PARTS}
    figures = {f"CPU ms for one execution, {part}": value for part, value in each.items()}
    figures["CPU ms for one execution, all"] = sum(each.values())
    for name, now, then in zip(("KB of PostgreSQL's log", "commits"), wrote, written, strict=True):
        figures[f"{name} for one execution"] = (now - then) / max(1, count)
    return figures, lost


def table(results: dict[int, dict[str, float]]) -> str:
    """Return the figures as a Markdown table, a column for each number of hosts."""
    names = list(next(iter(results.values())))
    head = [f"| | {' | '.join(f'{n} host' if n == 1 else f'{n} hosts' for n in results)} |",
            f"| --- |{' ---: |' * len(results)}"]  # fmt: skip
    return "\n".join(
        head + [f"| {name} | {' | '.join(f'{one[name]:.3g}' for one in results.values())} |" for name in names]
    )
