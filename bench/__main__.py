"""`python -m bench`: measures the real web server and cluster on SQLite and on PostgreSQL (docs/benchmarks.md)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import hosts, machine, report
from bench.checkout import overlay
from bench.installation import DATABASES, measured
from harness import hosts as separation
from harness.postgresql import Missing, binaries
from harness.processes import ROOT

NAMES = (
    "idle", "memory", "transform", "first-step", "respond", "call-api", "tabs", "drain", "neighbour",
    "backlog-neighbour", "waiting-callers", "idle-cpu", "one-connection",
)  # fmt: skip


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    os.chdir(ROOT)
    if options.child:
        Path(options.json).write_text(json.dumps(measure(options)))
        return 0
    about = machine.describe()
    print(machine.line(about), flush=True)
    if options.hosts:
        return measure_hosts(options, about)
    results: dict[str, Any] = {}
    for database in _databases(options.database):
        results |= _measured(database, options)
    print("\n" + report.table(results))
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": about, "results": results}, indent=2) + "\n")
    return 1 if any(result["totals"][fault] for result in results.values() for fault in ("lost", "stuck")) else 0


def measure_hosts(options: argparse.Namespace, about: dict[str, Any]) -> int:
    """Measure one service host to so many on one PostgreSQL, each a machine of its own by namespaces."""
    try:
        separation.check()
        binaries()
    except (separation.Missing, Missing) as reason:
        sys.exit(f"several hosts cannot be measured here: {reason}")
    separation.separate()
    sizes = hosts.QUICK if options.quick else hosts.Sizes(runs=options.runs)
    results: dict[int, dict[str, float]] = {}
    faults = 0
    for number, figures, lost in hosts.measure(options.hosts, sizes):
        results[number], faults = figures, faults + lost
        print(f"\n{lost} lost or stuck\n\n{hosts.table(results)}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": about, "hosts": results}, indent=2) + "\n")
    return 1 if faults else 0


def end(number: int, _: object) -> None:
    """Leave through the exits that stop all that was started; ignore a second signal, which would interrupt them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one database in this process: Django can be set up only once in it."""
    with measured(options.database) as installation:
        import django

        django.setup()
        from bench import measures, seed

        sizes = measures.QUICK if options.quick else measures.Sizes(runs=options.runs)
        session = measures.Session(installation, seed.seed(), sizes)
        installation.start_stub()
        installation.start()
        measures.warm_up(session)
        for name in options.only:
            for run in range(sizes.runs):
                started = time.monotonic()
                measures.MEASURES[name](session)
                _say(f"{options.database} {name} {run + 1}/{sizes.runs}: {time.monotonic() - started:.1f} s")
        return {
            "figures": session.figures,
            "totals": session.totals,
        }


def _measured(database: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure this checkout; with another one beside it, both in turn, so that other load falls on both."""
    if not options.checkout:
        return {database: _summary([_in_child(database, options, None, options.runs)])}
    checkouts = {database: None, f"{database} {options.checkout.name}": options.checkout}
    parts: dict[str, list[dict[str, Any]]] = {label: [] for label in checkouts}
    for _ in range(1 if options.quick else options.runs):
        for label, checkout in checkouts.items():
            parts[label].append(_in_child(database, options, checkout, 1))
    return {label: _summary(results) for label, results in parts.items()}


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians and sums of several results."""
    figures = {name: [value for one in results for value in one["figures"][name]] for name in results[0]["figures"]}
    totals = {name: sum(one["totals"][name] for one in results) for name in results[0]["totals"]}
    return {"figures": {name: report.summary(values) for name, values in figures.items()}, "totals": totals}


def _in_child(database: str, options: argparse.Namespace, checkout: Path | None, runs: int) -> dict[str, Any]:
    """Measure in a new process, because Django can be set up for one database only."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file, overlay(checkout) as folder:
        command = [sys.executable, "-m", "bench", "--child", "--database", database, "--json", file.name]
        command += ["--only", ",".join(options.only), "--runs", str(runs), *(["--quick"] if options.quick else [])]
        child = subprocess.Popen(command, cwd=folder, env=os.environ | {"HARNESS_ROOT": str(folder)})
        try:
            if child.wait():
                sys.exit(f"the run on {database} failed")
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(60)
        result: dict[str, Any] = json.load(file)
        return result


def _databases(chosen: str | None) -> list[str]:
    if chosen:
        return [chosen]
    try:
        if not os.environ.get("DATABASE_URL"):
            binaries()
    except Missing as reason:
        print(f"SQLite only: {reason}")
        return ["sqlite"]
    return list(DATABASES)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each, under a minute in all")
    parser.add_argument("--only", type=_names, default=list(NAMES), help=f"some of {','.join(NAMES)}")
    parser.add_argument("--database", choices=DATABASES, help="one of the two")
    parser.add_argument("--runs", type=int, default=3, help="of each measure; the median is shown")
    parser.add_argument("--json", metavar="FILE", default="", help="write the figures to a file too")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="measure another checkout too, in turn")
    parser.add_argument("--hosts", type=int, metavar="N", help="measure one service host to N of them instead")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
