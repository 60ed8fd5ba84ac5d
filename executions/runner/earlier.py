"""What an execution reads back of itself: its trigger's payload, and the results of its earlier steps."""

from __future__ import annotations

from connectors.outbound.holding import FREE, MEGABYTE, Holding, HoldsTooMuch
from connectors.sdk.answer import LIGHT, weight_of_values
from connectors.sdk.call import JSON
from executions import sealed_json
from executions.runner.context import Journal
from executions.store.rows import Claimed, Unloaded

WIDER = 6  # bytes that a character of a text and of its value takes more, where one of them is not ASCII


class Unusable(Exception):
    """The data cannot be read back; `code` is the execution's reason code, and the text its reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Earlier:
    """Reads stored texts of one execution, large ones once there is memory for them."""

    def __init__(self, execution: Claimed, journal: Journal, holding: Holding) -> None:
        self.execution = execution
        self.journal = journal
        self.holding = holding

    async def read(self, text: str | Unloaded, attempt: int, key: str) -> str:
        """Return a stored text; raise Unusable when it needs too much memory."""
        if isinstance(text, str):
            return text
        await self._hold(2 * text.characters)  # for its value, too
        return await self.journal.large_text(self.execution, attempt, key)

    async def opened(self, text: str, what: str) -> JSON:
        """Return the value of a text; raise Unusable when it cannot be opened, or needs too much memory."""
        if len(text) > LIGHT:
            await self._hold(weight_of_values(text) + (0 if text.isascii() else WIDER * len(text)))
        try:
            return sealed_json.opened(text, self.execution.id)
        except sealed_json.Unreadable as error:
            raise Unusable("unreadable_data", f"{what} {error}.") from None

    async def _hold(self, size: int) -> None:
        try:
            if size > FREE:
                await self.holding.take(size)
        except HoldsTooMuch:
            most = self.holding.memory.most // MEGABYTE
            reason = f"The payload and the results of earlier steps need more than {most} MB of memory."
            raise Unusable("too_large", reason) from None
