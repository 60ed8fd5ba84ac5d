"""The monthly limits: reserved by one conditional UPDATE, so that they are exact under concurrency."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

from django.db import connection

from executions.store.dialect import Dialect


class Limits(Dialect):
    def reserve(self, organization_id: uuid.UUID, month: date, wanted: int) -> int:
        """Return how many of the wanted executions the month's hard limit leaves, and reserve them."""
        with connection.cursor() as cursor:
            if self._add_reserved(cursor, organization_id, month, wanted):
                return wanted
            left = min(wanted, self._left(cursor, organization_id, month))
            return left if left > 0 and self._add_reserved(cursor, organization_id, month, left) else 0

    def _add_reserved(self, cursor: Any, organization_id: uuid.UUID, month: date, amount: int) -> bool:
        """Reserve so many, or none where the limit is in the way or the month has no row yet."""
        cursor.execute(
            "UPDATE projects_usagemonth SET reserved = reserved + %s WHERE organization_id = %s AND month = %s"
            " AND NOT EXISTS (SELECT 1 FROM projects_organization WHERE uid = %s AND hard_limit < reserved + %s)",
            [amount, self.uid(organization_id), month, self.uid(organization_id), amount],
        )
        return bool(cursor.rowcount)

    def _left(self, cursor: Any, organization_id: uuid.UUID, month: date) -> int:
        """Make the month's row where it is missing, lock it and return what is left (a large number: no limit)."""
        cursor.execute(
            "INSERT INTO projects_usagemonth (organization_id, month, reserved, emails) VALUES (%s, %s, 0, 0)"
            " ON CONFLICT DO NOTHING",
            [self.uid(organization_id), month],
        )
        cursor.execute(
            "UPDATE projects_usagemonth SET reserved = reserved WHERE organization_id = %s AND month = %s"
            " RETURNING reserved",
            [self.uid(organization_id), month],
        )
        reserved = cursor.fetchone()[0]
        cursor.execute("SELECT hard_limit FROM projects_organization WHERE uid = %s", [self.uid(organization_id)])
        limit = cursor.fetchone()[0]
        return 2**31 if limit is None else max(0, int(limit) - int(reserved))

    def take_email(self, organization_id: uuid.UUID, month: date) -> bool:
        """Count one e-mail of the month; return False when the organization's maximum is reached."""
        with connection.cursor() as cursor:
            self._left(cursor, organization_id, month)
            cursor.execute(
                "UPDATE projects_usagemonth SET emails = emails + 1 WHERE organization_id = %s AND month = %s"
                " AND NOT EXISTS (SELECT 1 FROM projects_organization WHERE uid = %s AND email_limit <= emails)",
                [self.uid(organization_id), month, self.uid(organization_id)],
            )
            return bool(cursor.rowcount)

    def return_email(self, organization_id: uuid.UUID, month: date) -> None:
        """Give back one e-mail of the month that the mail server did not take."""
        self._run(
            "UPDATE projects_usagemonth SET emails = emails - 1"
            " WHERE organization_id = %s AND month = %s AND emails > 0",
            [self.uid(organization_id), month],
        )
