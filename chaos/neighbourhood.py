"""Compare what the neighbour met with the promises I13 to I15: nobody feels an attack on another organization."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from chaos.faults.kinds import AFTERMATH_S
from chaos.findings import Ended, Findings, clock, moment
from chaos.neighbour import Sample
from chaos.nemesis import Nemesis
from chaos.siege import Siege
from executions.states import Status

GROSS_S = 10.0  # the neighbour's 99th percentile above which the verdict is red
PAGES = {"health": 200, "log page": 200, "sign-in": 302}
STREAMS = ("executed", "respond", "health", "log page", "sign-in")  # of the table
CELL = 26  # characters of a column

type Timed = dict[str, list[tuple[float, float]]]  # by stream: when it was sent, and how long it took


def check(siege: Siege, ended: Sequence[Ended], nemesis: Nemesis, found: Findings) -> None:
    letters(siege, ended, found)
    pages(siege, nemesis, found)
    waits(timed(siege.samples, ended), nemesis, found)
    found.figures["attackers' CPU, % of a core"] = round(100 * siege.cpu_share)
    found.add("I15 a stolen secret came back in the clear", siege.loot)
    found.add("the attackers' own fault", (f"{turn['attack']}: {turn['error']}" for turn in siege.turns
                                           if turn["error"]))  # fmt: skip


def letters(siege: Siege, ended: Sequence[Ended], found: Findings) -> None:
    """I13: each e-mail left once, or not at all where the execution says so."""
    taken = Counter(json.loads(line)["number"] for line in siege.scene.mails.read_text().splitlines())
    found.figures["e-mails"] = taken.total()
    mails = {one.number: one for one in ended if one.kind == "mail"}
    found.add("I13 an e-mail of no execution", (str(number) for number in taken if number not in mails))
    found.add("I13 an e-mail left twice", (f"number {number}" for number, count in taken.items() if count > 1))
    found.add("I13 Success without its e-mail", (
        one.name for number, one in mails.items() if one.row["status"] == Status.SUCCESS and not taken[number]
    ))  # fmt: skip


def pages(siege: Siege, nemesis: Nemesis, found: Findings) -> None:
    """I14: each page is served, unless a fault has hit the web server."""
    bad = [one for one in siege.samples if one.stream in PAGES and one.status != PAGES[one.stream]]
    found.figures["pages not served"] = len(bad)
    found.add("I14 a page was not served", (
        f"{one.stream}: {one.status or 'no answer'} at {clock(one.at)}, after {one.took:.1f} s" for one in bad
        if not any(window.excuses(one.status, one.end) or window.excuses(one.status, one.at)
                   for window in nemesis.windows)
    ))  # fmt: skip


def waits(times: Timed, nemesis: Nemesis, found: Findings) -> None:
    """I14: away from any fault, the 99th percentile is not grossly wrong; bench/ measures the promised figure."""
    for stream, each in times.items():
        calm = [took for at, took in each if is_calm(at, at + took, nemesis)]
        if len(calm) > 1 and (p99 := percentile(calm, 99)) > GROSS_S:
            found.add(f"I14 {stream} of the neighbour took too long", [f"p99 {p99:.1f} s of {len(calm)}"])


def is_calm(start: float, end: float, nemesis: Nemesis) -> bool:
    return not any(start <= window.over + AFTERMATH_S and end >= window.start for window in nemesis.windows)


def timed(samples: Iterable[Sample], ended: Sequence[Ended]) -> Timed:
    """Return the times by stream, and as `executed` the time from a transform's POST to the end of its execution."""
    times: Timed = defaultdict(list)
    ends = {one.number: moment(one.row["finished_at"]) for one in ended}
    for one in samples:
        times[one.stream].append((one.at, one.took))
        if one.stream == "transform" and (end := ends.get(one.number)):
            times["executed"].append((one.at, end.timestamp() - one.at))
    return times


def table(siege: Siege, ended: Sequence[Ended], say: Callable[[str], None]) -> None:
    """Print the neighbour's times: alone, beside all attacks, and within the turns of each attack."""
    times = timed(siege.samples, ended)
    say(f"  {'the neighbour, ms':34}" + "".join(f"{stream:>{CELL}}" for stream in STREAMS))
    rows = {"alone": [(0.0, siege.began)], "beside the attacks": [(siege.began, float("inf"))]}
    for turn in siege.turns:
        rows.setdefault(turn["attack"], []).append((turn["start"], turn["end"]))
    for name, spans in rows.items():
        cells = (figures([took for at, took in times[stream] if within(at, spans)]) for stream in STREAMS)
        say(f"  {name:34}" + "".join(f"{cell:>{CELL}}" for cell in cells))
    for name, why in siege.refused.items():
        say(f"  refused to be made: {name}: {why}")


def within(at: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(start <= at <= end for start, end in spans)


def figures(took: Sequence[float]) -> str:
    """Return p50, p99 and the greatest in milliseconds."""
    if not took:
        return "-"
    return " / ".join(f"{1000 * value:,.0f}" for value in (percentile(took, 50), percentile(took, 99), max(took)))


def percentile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
