"""The number of requests received equals the sum of their outcomes: a part of the promise I8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chaos.driver import Post
from chaos.findings import Ended, Findings, plain
from chaos.scene import Scene

NOTHING_STORED = 503  # the status of a request without a receipt


def check(scene: Scene, posts: Sequence[Post], ended: Sequence[Ended], found: Findings) -> None:
    """Compare each automation's receipts of all days with its executions, and with the driver's answers."""
    automations = {one.kind: plain(one.row["automation_id"]) for one in ended}
    executions = Counter(one.kind for one in ended)
    counted = _counted(scene)
    answered = Counter(post.kind for post in posts for reply in post.replies if reply.status not in (0, NOTHING_STORED))
    unknown = Counter(post.kind for post in posts for reply in post.replies if reply.status == 0)
    for kind, automation in automations.items():
        became = counted.get(automation, Counter())
        if became["executed"] != executions[kind]:
            what = f"{kind}: {became['executed']} counted, {executions[kind]} stored"
            found.add("I8 receipts of executions", [what])
        if not answered[kind] <= became.total() <= answered[kind] + unknown[kind]:
            what = f"{kind}: {dict(became)}, but {answered[kind]} answered and {unknown[kind]} not"
            found.add("I8 received is not the sum of what became of it", [what])
    found.figures["requests received"] = sum(map(Counter.total, counted.values()))


def _counted(scene: Scene) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {}
    what = "automation_id, outcome, SUM(count) AS n"
    for row in scene.made.select(what, "executions_receiptday", "1 = 1 GROUP BY automation_id, outcome"):
        counted.setdefault(plain(row["automation_id"]), Counter())[row["outcome"]] = int(row["n"])
    return counted
