"""All attacks by name, in the order of their modules."""

from __future__ import annotations

from chaos.hostile import answers, builder, pages, seals, senders, slots, templates
from chaos.hostile.attack import Attack

ATTACKS: dict[str, Attack] = {
    one.name: one
    for one in (
        *seals.ATTACKS, *answers.ATTACKS, *templates.ATTACKS, *builder.ATTACKS, *senders.ATTACKS, *pages.ATTACKS,
        *slots.ATTACKS,
    )
}  # fmt: skip
