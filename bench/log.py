"""`python -m bench.log`: the cost of the pages that list executions at growing numbers (docs/benchmarks.md)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.__main__ import end
from bench.installation import DATABASES, measured
from harness.processes import ROOT

if TYPE_CHECKING:
    from bench.fill import Cast

WARM_UPS = 3
GOAL_MS, GOAL_RATIO = 50, 1.3

type Cost = tuple[float, float, float]  # milliseconds of the view, of its statements, and of CPU in this process
type Figures = dict[str, Cost]


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    os.chdir(ROOT)
    if options.child:
        Path(options.child).write_text(json.dumps(_measure(options)))
        return 0
    print(machine.line(machine.describe()), flush=True)
    for database in [options.database] if options.database else DATABASES:
        print(_table(database, _in_child(database, options)), flush=True)
    return 0


def _in_child(database: str, options: argparse.Namespace) -> dict[str, Figures]:
    """Measure in a new process, because Django can be set up for one database only."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "bench.log", "--child", file.name, "--database", database]
        command += ["--rows", ",".join(map(str, options.rows)), "--requests", str(options.requests)]
        child = subprocess.Popen([*command, *(["--explain"] if options.explain else [])])
        try:
            if child.wait():
                sys.exit(f"the run on {database} failed")
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(60)
        found: dict[str, Figures] = json.load(file)
        return found


def _measure(options: argparse.Namespace) -> dict[str, Figures]:
    with measured(options.database):
        import django

        django.setup()
        from django.core.management import call_command

        from bench import fill

        call_command("collectstatic", interactive=False, verbosity=0)
        actors, found = fill.cast(), {}
        fill.make_past_weeks()
        for rows in options.rows:
            started = time.monotonic()
            fill.fill(actors, rows)
            _say(f"{options.database}: {rows:,} executions in {time.monotonic() - started:.0f} s")
            found[str(rows)] = _figures(actors, options)
        return found


def _figures(actors: Cast, options: argparse.Namespace) -> Figures:
    """Ask for the pages in turns, so that other load of the machine falls on all of them."""
    from bench.pages import Visitor

    visitor = Visitor(actors)
    pages = visitor.pages()
    taken: dict[str, list[Cost]] = {name: [] for name in pages}
    for turn in range(WARM_UPS + options.requests):
        for name, get in pages.items():
            cost = _cost(get)
            if turn >= WARM_UPS:
                taken[name].append(cost)
    if options.explain:
        for name, get in pages.items():
            _explain(name, get)
    return {name: _medians(costs) for name, costs in taken.items()}


def _medians(costs: list[Cost]) -> Cost:
    took, sql, cpu = zip(*costs, strict=True)
    return median(took), median(sql), median(cpu)


def _cost(get: Callable[[], Any]) -> Cost:
    with _statements() as statements:
        started, cpu = time.perf_counter(), time.process_time()
        answer = get()
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
    if answer.status_code not in (200, 204):
        raise RuntimeError(f"{answer.request['PATH_INFO']} answered {answer.status_code}")
    return 1000 * took, 1000 * sum(seconds for _, _, seconds in statements), 1000 * cpu


@contextmanager
def _statements():  # type: ignore[no-untyped-def]
    """Yield a list that fills with the statements of the block: SQL, parameters and seconds."""
    from django.db import connection

    seen: list[tuple[str, Any, float]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            seen.append((sql, parameters, time.perf_counter() - started))

    with connection.execute_wrapper(note):
        yield seen


def _explain(name: str, get: Callable[[], Any]) -> None:
    """Print the plan of the page's slowest statement."""
    from django.db import connection

    with _statements() as statements:
        get()
    sql, parameters, _ = max(statements, key=lambda statement: statement[2])
    word = "EXPLAIN (ANALYZE, BUFFERS)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{word} {sql}", parameters)
        _say(f"\n{name}: {sql}\n" + "\n".join(str(row[-1]) for row in cursor.fetchall()))


def _table(database: str, found: dict[str, Figures]) -> str:
    """Return a line a page: milliseconds of view and statements at each size, and the last divided by the first."""
    sizes = list(found)
    head = [f"{int(size):,}: ms (SQL, CPU)" for size in sizes]
    lines = [f"\n| {database} | " + " | ".join(head) + " | ratio |", "| --- |" + " ---: |" * (len(sizes) + 1)]
    for name, (first, *_) in found[sizes[0]].items():
        cells = ["{:.1f} ({:.1f}, {:.1f})".format(*found[size][name]) for size in sizes]
        ratio = found[sizes[-1]][name][0] / first
        fault = " misses" if ratio > GOAL_RATIO or found[sizes[-1]][name][0] > GOAL_MS else ""
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio:.2f}{fault} |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.log", description=__doc__)
    parser.add_argument("--database", choices=DATABASES, help="one of the two")
    parser.add_argument("--rows", type=_sizes, default=[10_000, 1_000_000], help="sizes, such as 10000,1000000")
    parser.add_argument("--requests", type=int, default=25, help="of each page; the median is shown")
    parser.add_argument("--explain", action="store_true", help="print the plan of each page's slowest statement too")
    parser.add_argument("--child", metavar="FILE", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
