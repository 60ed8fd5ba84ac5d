"""All attacks by name, in the order of their modules."""

from __future__ import annotations

from chaos.hostile import seals
from chaos.hostile.attack import Attack

ATTACKS: dict[str, Attack] = {one.name: one for one in (seals.ATTACK,)}
