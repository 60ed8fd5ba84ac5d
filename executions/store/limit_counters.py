"""Counters of an organization's executions, e-mails and starts against its limits, exact under concurrency."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

import orjson

from executions.store.clock import Clock

NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # the last throttled start of an organization that had none
UNLIMITED = 2**31 - 1  # the largest number of a month's row


type Month = tuple[uuid.UUID, date]  # an organization's, by its first day


class LimitCounters(Clock):
    wanted_rows: str  # SQL that makes rows (organization_id, month, amount) of a parameter, a JSON list of objects

    def reserve_each(self, wanted: Mapping[Month, int]) -> dict[Month, int]:
        """Reserve executions as `reserve` does, for many organizations in one round trip; return their numbers.

        The rows are made and locked in one order, so that two processes cannot deadlock.
        """
        if len(wanted) < 2:
            return {key: self.reserve(*key, amount) for key, amount in wanted.items()}
        given = [
            {"organization_id": str(self.uid(organization_id)), "month": month.isoformat(), "amount": amount}
            for (organization_id, month), amount in wanted.items()
        ]
        limit = f"COALESCE(o.hard_limit, {UNLIMITED})"
        rows = self.ask(
            "INSERT INTO projects_usagemonth AS u (organization_id, month, reserved, emails)"
            f" SELECT r.organization_id, r.month, CASE WHEN r.amount <= {limit} THEN r.amount ELSE 0 END, 0"
            f" FROM {self.wanted_rows} JOIN projects_organization o ON o.uid = r.organization_id"
            " WHERE true ORDER BY r.organization_id, r.month"
            " ON CONFLICT (organization_id, month) DO UPDATE SET reserved = u.reserved + excluded.reserved"
            " WHERE excluded.reserved > 0 AND u.reserved + excluded.reserved <="
            f" (SELECT {limit} FROM projects_organization o WHERE o.uid = excluded.organization_id)"
            " RETURNING organization_id, month, reserved",
            [orjson.dumps(given).decode()],
        )
        reserved = {(self.to_uuid(row[0]), self.to_day(row[1])) for row in rows() if row[2]}
        # The others' limits leave less than they want; their rows are there and locked by now.
        return {
            key: amount if key in reserved else self.reserve(*key, amount) for key, amount in sorted(wanted.items())
        }

    def reserve(self, organization_id: uuid.UUID, month: date, wanted: int) -> int:
        """Reserve up to `wanted` executions of a month, as many as its hard limit leaves; return their number."""
        if self._add_reserved(organization_id, month, wanted):
            return wanted
        left = min(wanted, self._lock_month(organization_id, month))
        return left if left > 0 and self._add_reserved(organization_id, month, left) else 0

    def _add_reserved(self, organization_id: uuid.UUID, month: date, amount: int) -> bool:
        """Reserve `amount`; return False, and reserve none, where the limit forbids it or the month has no row yet."""
        # A subquery reads the limit as a value. With an anti join (NOT EXISTS), an UPDATE of PostgreSQL that has waited
        # for the row would check its new version, but keep the join's result for the old one.
        return bool(
            self._changed(
                "UPDATE projects_usagemonth SET reserved = reserved + %s WHERE organization_id = %s AND month = %s"
                " AND reserved + %s <= COALESCE((SELECT hard_limit FROM projects_organization WHERE uid = %s), %s)",
                [amount, self.uid(organization_id), month, amount, self.uid(organization_id), UNLIMITED],
            )
        )

    def give_back(self, organization_id: uuid.UUID, month: date, amount: int) -> None:
        """Give reservations of a month back: their executions have ended without counting."""
        self._run(
            "UPDATE projects_usagemonth SET reserved = reserved - %s"
            " WHERE organization_id = %s AND month = %s AND reserved >= %s",
            [amount, self.uid(organization_id), month, amount],
        )

    def _lock_month(self, organization_id: uuid.UUID, month: date) -> int:
        """Make the month's row where it is missing and lock it; return the executions that its hard limit leaves.

        Return UNLIMITED for an organization without a hard limit.
        """
        self._run(
            "INSERT INTO projects_usagemonth (organization_id, month, reserved, emails) VALUES (%s, %s, 0, 0)"
            " ON CONFLICT DO NOTHING",
            [self.uid(organization_id), month],
        )
        reserved = self.ask(  # an UPDATE that changes nothing locks the row in both dialects
            "UPDATE projects_usagemonth SET reserved = reserved WHERE organization_id = %s AND month = %s"
            " RETURNING reserved",
            [self.uid(organization_id), month],
        )()[0][0]
        limit = self.ask("SELECT hard_limit FROM projects_organization WHERE uid = %s", [self.uid(organization_id)])()
        return UNLIMITED if limit[0][0] is None else max(0, int(limit[0][0]) - int(reserved))

    def take_email(self, organization_id: uuid.UUID, month: date) -> bool:
        """Count one e-mail of the month; when the organization's maximum is reached, return False and count nothing."""
        self._lock_month(organization_id, month)  # under its lock NOT EXISTS sees the current number
        return bool(
            self._changed(
                "UPDATE projects_usagemonth SET emails = emails + 1 WHERE organization_id = %s AND month = %s"
                " AND NOT EXISTS (SELECT 1 FROM projects_organization WHERE uid = %s AND email_limit <= emails)",
                [self.uid(organization_id), month, self.uid(organization_id)],
            )
        )

    def return_email(self, organization_id: uuid.UUID, month: date) -> None:
        """Take one e-mail of the month off the count: the mail server did not accept it."""
        self._run(
            "UPDATE projects_usagemonth SET emails = emails - 1"
            " WHERE organization_id = %s AND month = %s AND emails > 0",
            [self.uid(organization_id), month],
        )

    # --- starts a minute, in the direct lane

    def place_direct(self, organization_id: uuid.UUID, wanted: int, limit: int) -> list[datetime | None]:
        """Assign `wanted` direct starts to the organization's minutes, `limit` to a minute.

        Return for each start its minute, or None for a start in this minute, which need not wait.
        """
        fit_into_this_minute = self._changed(
            f"UPDATE executions_pace SET direct_used = CASE WHEN direct_minute < {self.this_minute} THEN %s"
            " ELSE direct_used + %s END,"
            f" direct_minute = CASE WHEN direct_minute < {self.this_minute} THEN {self.this_minute}"
            f" ELSE direct_minute END WHERE organization_id = %s AND %s <= %s AND (direct_minute <"
            f" {self.this_minute} OR direct_minute = {self.this_minute} AND direct_used + %s <= %s)",
            [wanted, wanted, self.uid(organization_id), wanted, limit, wanted, limit],
        )
        return [None] * wanted if fit_into_this_minute else self._place_later(organization_id, wanted, limit)

    def _place_later(self, organization_id: uuid.UUID, wanted: int, limit: int) -> list[datetime | None]:
        """Fill the organization's first minute with room, and then the next ones."""
        self.follow_clock()
        self.make_paces([organization_id])
        row = self.ask(
            "UPDATE executions_pace SET direct_used = direct_used WHERE organization_id = %s"
            f" RETURNING direct_minute, direct_used, {self.this_minute}",
            [self.uid(organization_id)],
        )()[0]
        filling, used, now = self.moment(row[0]), row[1], self.moment(row[2])
        places: list[datetime | None] = []
        filling, used = (now, 0) if filling < now else (filling, used)
        for _ in range(wanted):
            if used >= limit:
                filling, used = filling + timedelta(minutes=1), 0
            used += 1
            places.append(filling if filling > now else None)
        self._run(
            "UPDATE executions_pace SET direct_minute = %s, direct_used = %s WHERE organization_id = %s",
            [self.at(filling), used, self.uid(organization_id)],
        )
        return places

    def make_paces(self, organization_ids: Iterable[uuid.UUID]) -> None:
        """Make the rows that count the organizations' starts, where they are missing."""
        for organization_id in organization_ids:
            self._run(
                "INSERT INTO executions_pace (organization_id, throttle_at, direct_minute, direct_used)"
                f" VALUES (%s, %s, {self.this_minute}, 0) ON CONFLICT DO NOTHING",
                [self.uid(organization_id), self.at(NEVER)],
            )
