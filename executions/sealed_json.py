"""Stored JSON text: the one place that writes it and reads it back, with secrets sealed where they stand.

A seal is the encrypted secret between two marks, U+E000. It is bound to its execution and opens nowhere else. Engines
open seals; people, the API and logs see a mask in their place.

Text that AgentOS did not seal is never opened, whoever sent it: on the way in each U+E000 of its own is doubled, and a
text that holds one begins with HEADER, which no JSON does. So HEADER tells this storage from the one before it, whose
texts hold old seals and the look of them unmarked. Those are masked and opened for nobody.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Sequence
from typing import cast

from connectors.sdk import exact_json
from connectors.sdk.call import JSON
from executions.secret_forms import Mask, Span, TooMany, masked, merged
from projects import sealing
from projects.sealing import Purpose, UnreadableSecret

ROW_LIMIT = 256 * 1024  # characters of JSON text that a step run's row may hold
EXCERPT = 8 * 1024  # characters of a larger text that its row holds, as an excerpt
MARK = "\ue000"
HEADER = f"{MARK}2{MARK}"
# A whole value that is sealed (its text is a string that begins with `=`), a seal in a text, or a mark of the text's.
SEAL = re.compile(f'"{MARK}=([A-Za-z0-9_-]+){MARK}"|{MARK}([A-Za-z0-9_-]*){MARK}')
SHOWN = re.compile(f"{MARK}(=?[A-Za-z0-9_-]*)({MARK}?)")  # cut ones too: an excerpt may end in a seal
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?[0-9][0-9.eE+-]*+')
NOWHERE = (sys.maxsize, sys.maxsize)
OLD_SEAL = re.compile(f"{MARK}sealed:[A-Za-z0-9_=-]*\ue001?")

type Masks = Sequence[Mask]


class Unreadable(Exception):
    """A stored text cannot be read back; the message says why, as the end of a sentence."""


def loads(text: str | bytes) -> JSON:
    return exact_json.loads(text)


def dumps(value: JSON) -> str:
    return exact_json.dumps(value).decode()


def stored(value: JSON) -> str:
    """Return the text to store of a value without secrets."""
    return _escaped(dumps(value))


def sealed(value: JSON, masks: Masks, execution_id: uuid.UUID) -> str:
    """Return the text to store of a value, with every secret sealed, in the keys of objects, in texts and numbers."""
    text = dumps(value)
    if not masks:
        return _escaped(text)
    try:
        spans = merged([span for mask in masks for span in mask.spans(text)])
        return HEADER + TOKEN.sub(_Sealer(spans, masks, execution_id).token, text) if spans else _escaped(text)
    except TooMany:
        return whole(value, execution_id)


def whole(value: JSON, execution_id: uuid.UUID) -> str:
    """Return the text to store of a value that is a secret as a whole: people see a mask and nothing else."""
    return f'{HEADER}"{MARK}={sealing.encrypt(dumps(value), Purpose.ECHO, execution_id.hex)}{MARK}"'


def hidden(text: str, masks: Masks) -> str:
    """Return a message to store, with every secret masked: no step reads a message, so nobody need open it again."""
    return masked(exact_json.storable(text), masks, sealing.MASK) if text else text


def opened(text: str, execution_id: uuid.UUID) -> JSON:
    """Return the value of stored text, its seals opened. For engines only: people see `shown`. Raise Unreadable."""
    try:
        return loads(_clear(text, execution_id) if MARK in text else text)
    except UnreadableSecret:
        raise Unreadable("holds a secret that FIELD_KEYS does not open") from None
    except (ValueError, RecursionError):
        raise Unreadable("is damaged") from None


def shown(text: str) -> str:
    """Return the JSON text of stored text with a mask in place of each seal, for people, API, admin and logs."""
    if MARK not in text:
        return text
    if not text.startswith(HEADER):
        return OLD_SEAL.sub(sealing.MASK, text)
    return SHOWN.sub(_as_shown, text[len(HEADER) :])


def has_seals(text: str) -> bool:
    """Return whether stored text holds a secret."""
    return text.startswith(HEADER) and any(whole or seal for whole, seal in SEAL.findall(text, len(HEADER)))


class _Sealer:
    """Seals the secrets of one JSON text, equal ones once: an echo may repeat one a thousand times.

    `spans` are where the whole text may hold secrets: a part of it that holds none is left without another look.
    """

    def __init__(self, spans: list[Span], masks: Masks, execution_id: uuid.UUID) -> None:
        self.spans = iter(spans)
        self.masks = masks
        self.execution_id = execution_id
        self.tokens: dict[str, str] = {}
        self.next = next(self.spans)

    def token(self, hit: re.Match[str]) -> str:
        """Return a string or number of the text as it is stored."""
        while self.next[1] <= hit.start():
            self.next = next(self.spans, NOWHERE)
        if self.next[0] >= hit.end():
            return _doubled(hit[0])
        if hit[0][0] != '"':
            return f'"{MARK}={self._encrypted(hit[0])}{MARK}"'
        return dumps(self._text(cast(str, loads(hit[0]))))

    def _text(self, text: str) -> str:
        pieces, last = [], 0
        for at, end in merged([span for mask in self.masks for span in mask.spans(text)]):
            pieces += [_doubled(text[last:at]), f"{MARK}{self._encrypted(dumps(text[at:end]))}{MARK}"]
            last = end
        return "".join([*pieces, _doubled(text[last:])])

    def _encrypted(self, json_text: str) -> str:
        if json_text not in self.tokens:
            self.tokens[json_text] = sealing.encrypt(json_text, Purpose.ECHO, self.execution_id.hex)
        return self.tokens[json_text]


def _clear(text: str, execution_id: uuid.UUID) -> str:
    """Return the JSON text of a stored text that holds marks."""
    if not text.startswith(HEADER):
        if OLD_SEAL.search(text):
            raise Unreadable("holds a secret that an older release of AgentOS sealed")
        return text

    def open_one(hit: re.Match[str]) -> str:
        if hit[1]:
            return sealing.decrypt(hit[1], Purpose.ECHO, execution_id.hex)
        return sealing.decrypt(hit[2], Purpose.ECHO, execution_id.hex)[1:-1] if hit[2] else MARK

    return SEAL.sub(open_one, text[len(HEADER) :])


def _as_shown(hit: re.Match[str]) -> str:
    token, end = hit.groups()
    return sealing.MASK if token else MARK if end else ""


def _doubled(text: str) -> str:
    return text.replace(MARK, MARK * 2) if MARK in text else text


def _escaped(text: str) -> str:
    return HEADER + _doubled(text) if MARK in text else text
