"""A strict reader of Prometheus' text format 0.0.4: what it takes, a Prometheus takes."""

from __future__ import annotations

import math
import re
from collections import defaultdict

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(
    rf"(?P<name>{NAME})(?:\{{(?P<labels>{LABEL}(?:,{LABEL})*)\}})? (?P<value>-?[0-9.e+-]+|\+Inf|-Inf|NaN)"
)
KINDS = {"counter", "gauge", "histogram"}

type Labels = frozenset[tuple[str, str]]


class Metrics:
    """The families of one answer; `value` finds one sample."""

    def __init__(self, text: str) -> None:
        assert text.endswith("\n"), "the last line has no end"
        self.kinds: dict[str, str] = {}
        self.helps: set[str] = set()
        self.samples: dict[str, dict[Labels, float]] = defaultdict(dict)
        self.family = ""
        for line in text[:-1].split("\n"):
            self._comment(line) if line.startswith("#") else self._sample(line)
        for name, kind in self.kinds.items():
            if kind == "histogram":
                self._check_histogram(name)

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name][frozenset(labels.items())]

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for labels in self.samples[name]}

    def _comment(self, line: str) -> None:
        _, word, name, rest = line.split(" ", 3)
        assert re.fullmatch(NAME, name), line
        if word == "HELP":
            assert name not in self.helps, f"two HELP of {name}"
            self.helps.add(name)
        else:
            assert word == "TYPE" and rest in KINDS and name not in self.kinds, line
            self.kinds[name] = rest
            self.family = name

    def _sample(self, line: str) -> None:
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        name, labels = found["name"], frozenset(re.findall(LABEL, found["labels"] or ""))
        assert name.removeprefix(self.family) in self._endings, f"{name} outside of its family {self.family}"
        assert labels not in self.samples[name], f"twice: {line}"
        assert len({label for label, _ in labels}) == len(labels), f"a label twice: {line}"
        self.samples[name][labels] = float(found["value"])

    @property
    def _endings(self) -> set[str]:
        return {"_bucket", "_sum", "_count"} if self.kinds[self.family] == "histogram" else {""}

    def _check_histogram(self, name: str) -> None:
        """Check that buckets never fall, and that the last one is +Inf and holds all."""
        series: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
        for labels, value in self.samples[f"{name}_bucket"].items():
            bound = dict(labels)["le"]
            series[labels - {("le", bound)}].append((float(bound), value))
        assert series.keys() == self.samples[f"{name}_count"].keys() == self.samples[f"{name}_sum"].keys()
        for labels, buckets in series.items():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts) and sorted(buckets)[-1][0] == math.inf, buckets
            assert counts[-1] == self.samples[f"{name}_count"][labels]
