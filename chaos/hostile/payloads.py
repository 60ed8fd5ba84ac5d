"""Bodies that cost nothing to send, made once."""

from __future__ import annotations

import gzip

CODED = b"a" * 1_000_000  # each letter is an insertion to the decoder of punycode
OBJECTS = b"[" + b"{}," * 3_000_000 + b"{}]"
NUMBERS = b"[" + b"1," * 4_500_000 + b"1]"
KEYS = b"{" + b",".join(b'"%d":0' % number for number in range(700_000)) + b"}"
ESCAPES = b'["\\ud800","\\u0000",' + b'"\\ue000sealed:AAAA\\ue001",' * 100_000 + b"1e400]"
BOMB = gzip.compress(bytes(32 << 20))
BOMB_TWICE = gzip.compress(gzip.compress(bytes(256 << 20), 1), 9)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels
