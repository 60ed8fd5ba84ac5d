from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models, transaction
from django.db.models.functions import Greatest
from django.utils import timezone

SWEPT = 20  # forgotten rows that each look removes, so that the table holds little more than what counts
NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """How often something may be tried: so many times at once, and once more after each pause."""

    name: str
    at_once: int
    pause: timedelta

    def of(self, *whom: str) -> Claim:
        """Return the claim of somebody to one try under this rule."""
        text = "\0".join((self.name, *whom))
        return Claim(self, hashlib.sha256(text.encode(errors="replace")).hexdigest())


@dataclass(frozen=True, slots=True)
class Claim:
    rule: Rule
    key: str

    def wait(self, free_at: datetime | None, now: datetime) -> timedelta:
        """Return how long to wait for a try when all tries are free again at `free_at`."""
        if free_at is None:
            return NOTHING
        return max(NOTHING, min(free_at, self.latest(now)) - now - (self.rule.at_once - 1) * self.rule.pause)

    def latest(self, now: datetime) -> datetime:
        """Return the latest time at which all tries can be free again; a later one is of a clock that was ahead."""
        return now + self.rule.at_once * self.rule.pause


class TriesQuerySet(models.QuerySet["Tries"]):
    def wait(self, *claims: Claim) -> timedelta:
        """Return how long to wait until each claim has a try; nothing is taken.

        A time that lies further ahead than tries can bring it was written by a clock that was ahead: it comes back.
        """
        now = timezone.now()
        known = dict(self.filter(pk__in=[claim.key for claim in claims]).values_list("pk", "free_at"))
        for claim in claims:
            if (latest := claim.latest(now)) < known.get(claim.key, now):
                self.filter(pk=claim.key, free_at__gt=latest).update(free_at=latest)
        return max(claim.wait(known.get(claim.key), now) for claim in claims)

    def take(self, *claims: Claim) -> timedelta:
        """Take one try of each claim and return zero, or take none and return how long to wait.

        Give the claims in one order everywhere: each locks its row.
        """
        if wait := self.wait(*claims):
            return max(wait, timedelta(seconds=1))
        now = timezone.now()
        try:
            with transaction.atomic():
                for claim in claims:
                    self._take(claim, now)
        except _Used as used:
            return max(used.wait, timedelta(seconds=1))
        self.sweep()
        return NOTHING

    def _take(self, claim: Claim, now: datetime) -> None:
        self.bulk_create([Tries(key=claim.key, free_at=now)], ignore_conflicts=True)
        open_until = now + (claim.rule.at_once - 1) * claim.rule.pause
        mine = self.filter(pk=claim.key)
        # One statement decides and counts: of many tries at the same time no more pass than there are.
        if not mine.filter(free_at__lte=open_until).update(free_at=Greatest("free_at", now) + claim.rule.pause):
            raise _Used(claim.wait(mine.values_list("free_at", flat=True).first(), now))

    def give_back(self, *claims: Claim) -> None:
        """Return one try to each claim."""
        for claim in claims:
            self.filter(pk=claim.key).update(free_at=models.F("free_at") - claim.rule.pause)

    def remember(self, claim: Claim) -> None:
        """Note that somebody was here, for as long as the rule's pause."""
        self.update_or_create(key=claim.key, defaults={"free_at": timezone.now() + claim.rule.pause})

    def knows(self, claim: Claim) -> bool:
        return self.filter(pk=claim.key, free_at__gt=timezone.now()).exists()

    def sweep(self) -> None:
        """Remove some of the rows that count for nothing any more."""
        old = self.filter(free_at__lt=timezone.now())
        with transaction.atomic():
            free = old.select_for_update(skip_locked=True).order_by("free_at").values_list("pk", flat=True)[:SWEPT]
            old.filter(pk__in=list(free)).delete()


class _Used(Exception):
    def __init__(self, wait: timedelta) -> None:
        self.wait = wait


class Tries(models.Model):
    """How many tries somebody has used under a rule, as the time at which all of them are free again.

    `key` is a digest of the rule and of whom it is about: the table tells nobody which names were tried.
    """

    key = models.CharField(max_length=64, primary_key=True)
    free_at = models.DateTimeField(db_index=True)

    objects = TriesQuerySet.as_manager()

    def __str__(self) -> str:
        return self.key
