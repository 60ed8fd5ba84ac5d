"""The connections that repeat the store's statements are tuned, which goes by the names of their threads."""

from __future__ import annotations

import threading

import pytest

from automations.models import Automation
from executions.apps import REPLY_THREADS, STORE_THREADS
from executions.engine.database_thread import DatabaseThread
from executions.store.dialect import REPLY_CHANNEL
from executions.store.wake import Wake
from projects.ids import new_id
from tests.support.door import send, stored, url_of


@pytest.mark.django_db(transaction=True)
def test_the_thread_that_accepts_bears_the_name_of_a_tuned_one(automation: Automation) -> None:
    stored(send(url_of(automation), b"{}"))

    assert "intake" in {thread.name for thread in threading.enumerate()}
    assert "intake" in STORE_THREADS


def test_so_do_those_of_engine_and_replies() -> None:
    engine = DatabaseThread(new_id(), 0, lambda *_: None, lambda *_: None)

    assert engine.name in STORE_THREADS
    assert Wake(REPLY_CHANNEL, lambda _: None).name in REPLY_THREADS
