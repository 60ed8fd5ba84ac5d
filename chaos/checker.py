"""Compare the Execution Log with the posts and with the calls outside: the promises I1 to I11 of docs/chaos.md."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from itertools import chain

from chaos import outside, plan, receipt_balance, timed
from chaos.driver import Driver, Reply
from chaos.findings import Ended, Findings, Row, clock, plain
from chaos.nemesis import Nemesis
from chaos.scene import Scene
from chaos.watch import Watch
from executions.states import ATTEMPT_LIMIT, FINAL, Status
from projects.ids import made_at


class Checker:
    def __init__(self, scene: Scene, driver: Driver, nemesis: Nemesis, watch: Watch | None = None) -> None:
        self.scene = scene
        self.deaths = watch.deaths if watch else []
        self.ownerless = watch.ownerless if watch else {}
        self.posts = driver.posts
        self.nemesis = nemesis
        self.found = Findings()
        self.effects = [json.loads(line) for line in scene.effects.read_text().splitlines()]
        self.fired: list[tuple[datetime, Row]] = []  # fire times of the schedule, and their executions
        self.ended = self._read()

    def _read(self) -> list[Ended]:
        query = self.scene.installation.query
        of: dict[str, Ended] = {}
        own = [self.scene.made.organization]  # whatever others do
        payloads = {plain(row["execution_id"]): row for row in query(
            "SELECT execution_id, input FROM executions_steprun WHERE attempt = 0 AND organization_id = %s", own
        )}  # fmt: skip
        for row in query("SELECT * FROM executions_execution WHERE organization_id = %s ORDER BY id", own):
            payload = json.loads(payloads[plain(row["id"])]["input"])
            if "scheduled_at" in payload:
                self.fired.append((datetime.fromisoformat(payload["scheduled_at"]), row))
                continue
            body = payload["body"]
            of[plain(row["id"])] = Ended(row, body["number"], body["kind"], body)
        for step in query(
            "SELECT * FROM executions_steprun WHERE attempt > 0 AND organization_id = %s ORDER BY attempt, position",
            own,
        ):
            if owner := of.get(plain(step["execution_id"])):
                owner.steps.append(step)
        for effect in self.effects:
            owner = of.get(outside.owner_of(effect["key"]))
            if owner and owner.number == effect["number"]:
                owner.keys.append(effect["key"])
            else:
                self.found.add("I4 effect of no execution", [json.dumps(effect)])
        return list(of.values())

    def check(self) -> Findings:
        for part in (
            self.accepted, self.ends, self.acts, self.usage, self.order, self.retries, self.schedule, self.answers,
            self.kills_of_the_web_server, self.receipts, self.lives,
        ):  # fmt: skip
            part()
        return self.found

    # --- I1, I2: each answer is true

    def accepted(self) -> None:
        stored = Counter(one.number for one in self.ended)
        ids = {one.number: plain(one.row["id"]) for one in self.ended}
        figures = self.found.figures
        figures |= Counter(post.outcome for post in self.posts)
        lost = [post for post in self.posts if post.outcome == "ok" and not stored[post.number]]
        figures["lost"] = self.found.add("I1 lost", (f"number {post.number} ({post.kind})" for post in lost))
        twice = [number for number, count in stored.items() if count > 1]
        figures["recorded twice"] = self.found.add("I1 recorded twice", (f"number {number}" for number in twice))
        self.found.add("I1 answered with another execution's id", (
            f"number {post.number}: {reply}" for post in self.posts for reply in post.replies
            if reply.is_ok and stored[post.number] == 1 and plain(reply.execution_id) != ids[post.number]
        ))  # fmt: skip
        self.found.add("I2 refused, and stored all the same", (
            f"number {post.number}: {post.replies}" for post in self.posts
            if post.outcome == "refused" and stored[post.number]
        ))  # fmt: skip
        made = {one.number: made_at(one.id).timestamp() for one in self.ended}
        self.found.add("I2 answered 5xx, and stored by that request", (
            f"number {post.number}: stored at {clock(made[post.number])}, {lie}" for post in self.posts
            if post.number in made and (lie := post.lie_about(made[post.number]))
        ))  # fmt: skip

    # --- I3: each execution ends as it must

    def ends(self) -> None:
        stuck = [one for one in self.ended if one.row["status"] not in FINAL]
        self.found.figures["stuck"] = self.found.add(
            "I3 stuck", (f"{one.name} is {Status(one.row['status']).label}" for one in stuck)
        )
        self.found.figures["wrong end"] = self.found.add("I3 ended otherwise than it must", (
            f"{one.name} ended {Status(one.row['status']).label} {one.row['reason_code']}: {one.row['reason']}"
            for one in self.ended if one not in stuck
            and (Status(one.row["status"]), one.row["reason_code"]) not in one.plan.ends
        ))  # fmt: skip

    # --- I4: the calls outside

    def acts(self) -> None:
        self.found.figures["outside calls"] = len(self.effects)
        outside.check(self.ended, self.nemesis.windows, self.found)

    # --- I5: the counters

    def usage(self) -> None:
        made = self.scene.made
        counted = made.counted
        reserved = int(made.select("COALESCE(SUM(reserved), 0) AS n", "projects_usagemonth")[0]["n"])
        rows = [one.row for one in self.ended] + [row for _, row in self.fired]
        ended = sum(row["status"] in FINAL or row["attempt"] > 1 for row in rows)
        self.found.figures["usage − executions ended"] = counted - ended
        self.found.figures["reserved − accepted"] = reserved - len(rows)
        if counted != ended:
            self.found.add("I5 usage", [f"{counted} counted, {ended} ended"])
        if reserved != len(rows):
            self.found.add("I5 reservation", [f"{reserved} reserved, {len(rows)} accepted"])
        self.found.add("I5 counted flag", (
            f"{one.name}: {one.row['status']}" for one in self.ended
            if bool(one.row["is_counted"]) != (one.row["status"] in FINAL or one.row["attempt"] > 1)
        ))  # fmt: skip

    # --- I6: the stored payloads and step runs

    def order(self) -> None:
        self.found.add("I6 payload changed", (
            one.name for one in self.ended
            if one.payload != plan.body_of(one.number, one.kind, self.scene.echo_url)
        ))  # fmt: skip
        self.found.add("I6 steps out of order or missing", (
            f"{one.name}: {keys}" for one in self.ended
            if (keys := last_attempt(one)) != one.plan.keys[: len(keys)]
            or (one.row["status"] == Status.SUCCESS and len(keys) < len(one.plan.keys))
        ))  # fmt: skip

    def retries(self) -> None:
        """I10: each accepted press of Retry makes one attempt, and at most two are accepted, however many come."""
        ended = {plain(one.row["id"]): one for one in self.ended}
        for execution_id, rounds in self.nemesis.pressed.items():
            if (one := ended.get(plain(execution_id))) is None:
                continue  # reported under I1
            attempt = one.row["attempt"]
            known, unknown = (sum(statuses.count(status) for statuses in rounds) for status in (202, 0))
            for rule, is_kept in (
                ("I10 another number of retries than was answered", 1 + known <= attempt <= 1 + known + unknown),
                ("I10 no press was accepted", known > 0),
                ("I10 more than two presses were accepted", known < ATTEMPT_LIMIT),
                ("I10 a retry is left although all was pressed", attempt == ATTEMPT_LIMIT),
                ("I10 a press was answered otherwise", {202, 409, 0}.issuperset(chain(*rounds))),
            ):
                self.found.add(rule, [] if is_kept else [f"{execution_id}: answers {rounds}, attempt {attempt}"])

    def schedule(self) -> None:
        timed.check(
            self.fired, self.scene.schedule_kept, self.scene.schedule_possible, self.nemesis.absences, self.found
        )

    # --- I7: the web server

    def answers(self) -> None:
        bad = [(post, reply) for post in self.posts for reply in post.replies
               if reply.status not in (200, 202)]  # fmt: skip
        self.found.figures["no answer or 5xx during faults"] = len(bad)
        self.found.add("I7 an error without a fault that explains it", (
            f"number {post.number} ({post.kind}): {reply.status or 'no answer'} at {clock(reply.at)}"
            for post, reply in bad if not self.is_explained(reply)
        ))  # fmt: skip

        refused = [(post, reply) for post, reply in bad if reply.status == 503]
        self.found.add("I7 503 that does not say when to come again", (
            f"number {post.number} ({post.kind}) at {clock(reply.at)}" for post, reply in refused
            if not reply.retry_after.isdigit()
        ))  # fmt: skip
        self.found.add("I11 nobody was refused while the database was away", (
            f"{clock(start)} to {clock(end)}" for start, end in self.nemesis.outages
            if not any(start <= reply.at <= end for _, reply in refused)
        ))  # fmt: skip

    def lives(self) -> None:
        """I12: who ends has a fault of its own; and what only the faults have seen."""
        self.found.add("I12 an engine or a process ended, and no fault explains it", (
            f"{death.who}{f' on {death.place}' if death.place else ''} at {clock(death.at)}" for death in self.deaths
            if not any(window.explains_death(death.at, death.place, is_engine=death.is_engine)
                       for window in self.nemesis.windows)
        ))  # fmt: skip
        self.found.add("I3 ran for nobody", (
            f"{what}: for more than {seconds:.0f} s on an engine without a row"
            for what, seconds in self.ownerless.items()
        ))  # fmt: skip
        for rule, what in self.nemesis.wrongs:
            self.found.add(rule, [what])

    def receipts(self) -> None:
        receipt_balance.check(self.scene, self.posts, self.ended, self.found)

    def kills_of_the_web_server(self) -> None:
        """I11: the kills must have hit both sides of a commit, or one side is untested."""
        if not self.nemesis.bursts:
            return
        stored, lost = map(sum, zip(*self.nemesis.bursts, strict=True))
        self.found.figures |= {"kills in a burst of posts": len(self.nemesis.bursts)}
        self.found.figures |= {"unanswered there, and stored": stored, "unanswered there, and not": lost}
        for rule, hit in (("I11 no kill came after a commit", stored), ("I11 no kill came before a commit", lost)):
            self.found.add(rule, [] if hit else [f"in {len(self.nemesis.bursts)} kills"])

    def is_explained(self, reply: Reply) -> bool:
        """Return whether a fault explains this error; none explains a 4xx, because each request is sound."""
        is_ours = reply.status == 0 or reply.status >= 500
        if not reply.was_patient:
            return True
        return is_ours and any(window.excuses(reply.status, reply.at, reply.place) for window in self.nemesis.windows)


def last_attempt(one: Ended) -> list[str]:
    return [step["key"] for step in one.steps if step["attempt"] == one.row["attempt"]]
