"""The log's filters are answered by their indexes on SQLite; PostgreSQL plans by the rows that are there."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from executions.models import Execution, Outcome, Receipt
from executions.states import Status

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="plans by statistics"),
]


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SUCCESS])
@pytest.mark.parametrize("before", [None, uuid.uuid4()])
def test_page_is_read_from_the_index_of_its_status_when_one_is_chosen(status: Status, before: uuid.UUID | None) -> None:
    rows = Execution.objects.filter(project=uuid.uuid4()).for_list().with_status(status)
    assert "execution_log_status" in rows.newest_first(before=before)[:51].explain()


def test_requests_are_read_from_the_index_of_their_outcome_when_one_is_chosen() -> None:
    rows = Receipt.objects.filter(automation=uuid.uuid4(), outcome=Outcome.REFUSED).order_by("-id")
    assert "receipt_outcome" in rows[:51].explain()
