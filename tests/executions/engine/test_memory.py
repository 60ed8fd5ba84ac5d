"""An engine's memory comes back after a burst of large answers."""

from __future__ import annotations

import subprocess
import sys

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
