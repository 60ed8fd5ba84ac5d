"""The forms in which a secret may come back, and where a text holds one of them.

AgentOS sends a secret as a builder's step has it: in a URL, a form, JSON, HTML or a header, and a template may put it
into base64. Whoever echoes the request sends it back in that form. `Mask` finds all forms of many secrets in one pass.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from connectors.sdk import exact_json

SHORTEST = 4  # characters from which on a secret is masked; shorter ones would mask half of every text
LINE = 8  # characters from which on a line of a longer secret is masked by itself
HEAD = 64  # characters by which a form is found; how far it goes on is compared there
GAP = 4  # characters between two secrets that are masked too: line ends of a key, the seams of base64
LONGEST = 10_000  # characters of a secret, as of a variable
LINES = 200  # of one secret, at most
MANY = 1000  # secrets in one text: more than that are not told apart
WINDOW = 64 * 1024  # characters searched at once
BUDGET = 3_000_000  # characters of all forms; of the secrets beyond it only the commonest forms are found
ALIKE = 24  # forms with one head that are compared
# What encoders leave as it is: ours for a value, a path, a query, and a browser's.
SAFE = ("", "/", "?/:@!$'()*,", "@:!$&'()*+,;=/~", "!~*'()")
ESCAPE = re.compile(r"%[0-9A-F]{2}")

type Span = tuple[int, int]


class TooMany(Exception):
    """A text holds more secrets than are told apart."""


class Mask:
    """Finds secrets in texts; made once for a project's variables, because that costs about 0.3 ms a secret."""

    def __init__(self, secrets: Iterable[str], budget: int = BUDGET) -> None:
        self.forms: dict[str, list[str]] = {}  # by head
        used = 0
        for secret in dict.fromkeys(secrets):
            found = forms(secret) if used < budget else tuple(_json(secret[:LONGEST]))
            used += self._add(found)
        self.heads = sorted(self.forms)
        self._automaton = AhoCorasick(self.heads, MatchKind.LeftmostLongest, False, Implementation.ContiguousNFA)

    def _add(self, found: Sequence[str]) -> int:
        """Take a secret's forms; return their length."""
        stored = (alike for form in found for alike in (form, _ours(form)))  # what is searched is JSON itself
        for form in dict.fromkeys(stored):
            if len(form) >= SHORTEST:
                alike = self.forms.setdefault(form[:HEAD], [])
                if len(form) > HEAD and len(alike) < ALIKE:
                    alike.append(form)
        return sum(len(form) for form in found)

    def __bool__(self) -> bool:
        return bool(self.heads)

    def spans(self, text: str) -> list[Span]:
        """Return where secrets stand, in order; raise TooMany for more than MANY."""
        found: list[Span] = []
        covered = 0
        for number, (at, end) in enumerate(self._hits(text)):
            if number >= MANY:
                raise TooMany
            if end <= covered:
                continue
            covered = max(covered, self._whole(text, at, end))
            if found and at - found[-1][1] <= GAP:
                at = found.pop()[0]
            found.append((at, covered))
        return found

    def cut_before(self, text: str, end: int) -> list[Span]:
        """Return where the beginning of a secret stands before `end`, as where a message quotes a text and cuts it."""
        for at in range(max(0, end - HEAD + 1), end - LINE + 1):
            begun = text[at:end]
            number = bisect_left(self.heads, begun)
            if number < len(self.heads) and self.heads[number].startswith(begun):
                return [(at, end)]
        return []

    def _hits(self, text: str) -> Iterator[Span]:
        if len(text) <= WINDOW:
            yield from ((at, end) for _, at, end in self._automaton.find_matches_as_indexes(text))
            return
        for start in range(0, len(text), WINDOW):
            part = text[start : start + WINDOW + HEAD]
            yield from ((start + at, start + end) for _, at, end in self._automaton.find_matches_as_indexes(part))

    def _whole(self, text: str, at: int, end: int) -> int:
        """Return the end of the secret whose head stands here, or of another that begins inside it and ends later."""
        end = self._extent(text, at, end)
        begin = max(at + 1, end - HEAD)
        for _, first, last in self._automaton.find_matches_as_indexes(text[begin : end + HEAD]):
            if begin + first < end < begin + last:
                return self._extent(text, begin + first, begin + last)
        return end

    def _extent(self, text: str, at: int, end: int) -> int:
        """Return how far one of the forms with this head goes on."""
        return max((at + _common(text, at, form) for form in self.forms[text[at:end]]), default=end)


def masked(text: str, masks: Sequence[Mask], mask: str) -> str:
    """Return a message with `mask` in place of each secret; all of it, when it holds too many."""
    quotes = [at for at, character in enumerate(text) if character == "”"][:MANY] if masks and "”" in text else []
    try:
        whole = [span for one in masks for span in one.spans(text)]
        spans = merged(whole + [span for one in masks for at in quotes for span in one.cut_before(text, at)])
    except TooMany:
        return mask
    pieces, last = [], 0
    for at, end in spans:
        pieces += [text[last:at], mask]
        last = end
    return "".join([*pieces, text[last:]])


def merged(spans: list[Span]) -> list[Span]:
    """Return the spans in order, with those that touch or overlap made one."""
    found: list[Span] = []
    for at, end in sorted(spans):
        if found and at <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((at, end))
    return found


def forms(secret: str) -> tuple[str, ...]:
    """Return the forms in which a secret may come back, the secret itself first."""
    # As it is stored: what was computed may hold half a character.
    secret = str(exact_json.loads(exact_json.dumps(secret[:LONGEST])))
    unix = secret.replace("\r\n", "\n")
    texts = [secret, secret.strip(), exact_json.storable(secret), unix, unix.replace("\n", "\r\n")]
    if "\n" in unix:
        texts += [line for line in (line.strip() for line in unix.split("\n")) if len(line) >= LINE][:LINES]
    wanted = dict.fromkeys(text for text in texts if len(text) >= SHORTEST)
    return tuple(dict.fromkeys(form for text in wanted for form in _encoded(text)))


def _encoded(text: str) -> Iterator[str]:
    yield text
    yield from _json(text)
    for one in (text, _ours(text), _ascii(text)):  # JSON may stand in a query too
        yield from _percent(one)
    yield from (quote(one, safe="") for one in (quote(text, safe=""), quote_plus(text)))
    escaped = html.escape(text)
    yield from (escaped, html.escape(text, quote=False), escaped.replace("&#x27;", "&#39;"))
    yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    raw = text.encode()
    yield from (raw.hex(), raw.hex().upper())
    yield from _base64(raw)


def _percent(text: str) -> Iterator[str]:
    for safe in SAFE:
        for encode in (quote, quote_plus):
            form = encode(text, safe=safe)
            yield form
            yield ESCAPE.sub(lambda hit: hit[0].lower(), form)


def _json(text: str) -> Iterator[str]:
    """Yield a text as it stands in JSON, and in JSON that stands in JSON."""
    for encode in (_ours, _ascii):
        for form in (encode(text), encode(text).replace("/", "\\/")):
            yield from (form, encode(form))


def _ours(text: str) -> str:
    return exact_json.dumps(text).decode()[1:-1]


def _ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _base64(raw: bytes) -> Iterator[str]:
    """Yield the characters of base64 that this text alone decides, wherever it begins in what is encoded."""
    for before in range(3):
        whole = b64encode(bytes(before) + raw).decode()
        form = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        for alike in (form, form.replace("+", "-").replace("/", "_")):
            yield alike
            yield quote(alike, safe="")


def _common(text: str, at: int, form: str) -> int:
    """Return how many of the form's characters stand in the text from here on."""
    if text.startswith(form, at):
        return len(form)
    least, most = 0, len(form)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if text.startswith(form[:middle], at) else (least, middle)
    return least
