"""Figures as a table for people and as JSON for machines: medians of the runs with their range."""

from __future__ import annotations

import statistics
from typing import Any

GOALS = {  # name → the goal: a lower bound for a rate, an upper bound for anything else
    "transform c=50: completed/s": 2000,
    "transform c=50: CPU ms each, all": 0.9,
    "transform c=200: accept p99 ms": 300,
    "first step at 40/s: p50 ms": 8,
    "respond c=1: p50 ms": 10,
    "respond c=10: p50 ms": 30,
    "1000 x call-api at 200 ms: s": 2,
    "100 tabs: part of accepted/s": 0.85,
    "memory idle: PSS MB": 200,
    "memory in flight: PSS MB": 300,
    "neighbour of 10000 slow calls: p99 ms": 100,
    "neighbour of a backlog of 100000: p50 ms": 50,
    "neighbour of a backlog of 100000: max ms": 300,
    "5000 callers, 1000 silent: health p99 ms": 100,
    "5000 callers, 1000 silent: accept p99 ms": 100,
    "5000 callers, 1000 silent: page p99 ms": 500,
    "5000 callers, 1000 silent: PSS MB": 300,
}
OWN_GOALS = {
    "sqlite": {"backlog of 20000: completed/s": 8000, "first step at 40/s: p99 ms": 30},
    "postgresql": {"backlog of 20000: completed/s": 6000, "first step at 40/s: p99 ms": 40},
}
WIDTH = 38  # characters of a column


def summary(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results, a column a database."""
    names = max((list(result["figures"]) for result in results.values()), key=len)  # PostgreSQL has its own CPU too
    width = max(len(name) for name in [*names, "accepted"]) + 2
    lines = ["".ljust(width) + "".join(database.ljust(WIDTH) for database in results).rstrip()]
    for name in names:
        cells = [_cell(database, name, result["figures"].get(name)) for database, result in results.items()]
        lines.append(name.ljust(width) + "".join(cell.ljust(WIDTH) for cell in cells).rstrip())
    for name in next(iter(results.values()))["totals"]:
        lines.append(
            name.ljust(width)
            + "".join(str(result["totals"][name]).ljust(WIDTH) for result in results.values()).rstrip()
        )
    return "\n".join(lines)


def _cell(database: str, name: str, figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    text = _number(figure["median"])
    if figure["runs"] > 1:
        text += f" [{_number(figure['min'])}-{_number(figure['max'])}]"
    return text + _verdict(database, name, figure["median"])


def _verdict(database: str, name: str, value: float) -> str:
    goal = OWN_GOALS[database.split()[0]].get(name, GOALS.get(name))
    if goal is None:
        return ""
    is_rate = name.endswith("/s")
    reached = value >= goal if is_rate else value <= goal
    return f" {'ok' if reached else 'misses'} {'>=' if is_rate else '<='} {goal}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
