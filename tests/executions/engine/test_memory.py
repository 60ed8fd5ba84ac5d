"""An engine's memory comes back after a burst of large answers."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from django.db import connection

# In a process of its own: what the tests before have freed would count, too. The small strings lie between the large
# ones, so that the C library cannot give back by itself.
BURST = """
from executions.engine.memory import GROWTH, FreedMemory, resident

class Loop: pass

memory = FreedMemory()
before = resident()
kept = []
for _ in range(2000):
    answer = Loop()
    answer.itself, answer.body = answer, b"x" * 100_000
    kept.append(b"y" * 1000)
del answer
grown = resident()
for _ in range(3):
    memory.give_back()
assert grown > before + 4 * GROWTH, (before, grown)
assert resident() < before + GROWTH, (before, resident())
"""


def test_freed_memory_is_given_back_while_small_pieces_stay() -> None:
    subprocess.run([sys.executable, "-c", "import gc; gc.disable()\n" + BURST], check=True)


LARGE_MESSAGE = """
import sys
import psycopg
from executions.engine.memory import GROWTH, FreedMemory, resident

link = psycopg.connect(sys.argv[1])
memory = FreedMemory(link.close)
before = resident()
link.execute("SELECT length(%s)", ["x" * 2 * GROWTH])
grown = resident()
for _ in range(3):
    memory.give_back()
assert grown > before + GROWTH, (before, grown)
assert resident() < before + GROWTH, (before, resident())
"""


@pytest.mark.skipif(connection.vendor != "postgresql", reason="libpq is PostgreSQL's")
@pytest.mark.django_db
def test_what_a_connection_keeps_for_its_largest_message_is_given_back() -> None:
    parameters = connection.get_connection_params()
    dsn = psycopg.conninfo.make_conninfo(**{key: parameters[key] for key in ("host", "port", "user", "dbname")})
    subprocess.run([sys.executable, "-c", LARGE_MESSAGE, dsn], check=True)
