"""Stored text comes back exactly as it came, whatever it looks like, and what is shown holds no secret in any form."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from yarl import URL

from connectors.sdk import exact_json, mapping
from executions import sealed_json
from executions.sealed_json import MARK, Unreadable
from executions.secret_forms import MANY, Mask
from projects import sealing
from projects.ids import new_id
from projects.sealing import MASK, Purpose

REPEATED = settings(derandomize=True, max_examples=100, deadline=None, database=None)
EXECUTION, OTHER = new_id(), new_id()
ENCRYPTED = sealing.encrypt('"s3cr3t-value"', Purpose.ECHO, EXECUTION.hex)
LOOKALIKES = [
    MARK, MARK * 2, "\ue001", f"{MARK}2{MARK}", f"{MARK}sealed:AAAA\ue001", f"{MARK}sealed:",
    "\\ue000sealed:AAAA\\ue001",
    f"{MARK}{ENCRYPTED}{MARK}", f"{MARK}={ENCRYPTED}{MARK}", f'"{MARK}={ENCRYPTED}{MARK}"', "\\", '"', "=", "A",
]  # fmt: skip
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TEXTS = st.lists(st.sampled_from(LOOKALIKES) | CHARACTERS, max_size=6).map("".join)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=4, max_size=40)

# What the product does to a secret on its way out, and so what an echo may hold.
LIQUID = ("base64_encode", "base64_url_safe_encode", "escape", "json", "url_encode")


def by_filter(name: str, text: str) -> str:
    return str(mapping.render(f"{{{{ x | {name} }}}}", {"x": text}))


ENCODERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in the path": lambda text: quote(text, safe=""),
    "with slashes": quote,
    "in lower case": lambda text: re.sub("%..", lambda hit: hit[0].lower(), quote(text)),
    "in a form": lambda text: urlencode({"key": text}),
    "in a query": lambda text: str(URL("http://127.0.0.1/").extend_query([("key", text)])),
    "in JSON": lambda text: exact_json.dumps({"key": text}).decode(),
    "in ASCII JSON": lambda text: json.dumps({"key": text}),
    "in JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "in our JSON in JSON": lambda text: json.dumps(exact_json.dumps({"key": text}).decode(), ensure_ascii=False),
    "in JSON in a query": lambda text: urlencode({"key": exact_json.dumps([text]).decode()}),
    "of a user": lambda text: "Basic " + b64encode(f"user:{text}".encode()).decode(),
    "of a longer user": lambda text: "Basic " + b64encode(f"somebody:{text}".encode()).decode(),
    "before more": lambda text: urlsafe_b64encode(f"a{text}:more".encode()).decode(),
    "of a base64 in a query": lambda text: quote(b64encode(text.encode()).decode(), safe=""),
    "as hex": lambda text: text.encode().hex(),
    "as HTML": html.escape,
    "in the middle": lambda text: f"a{text}b{text}c",
    "with line ends of a network": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    **{f"by {name}": partial(by_filter, name) for name in LIQUID},
}  # fmt: skip


def clear_in(shown: str, secret: str) -> bool:
    """Return whether shown text has the secret in it for somebody who takes all encodings off."""
    return secret in shown or json.dumps(secret)[1:-1] in shown


@REPEATED
@given(VALUES)
@example({f"{MARK}sealed:AAAA\ue001": [f"{MARK}", MARK * 3]})
def test_any_value_comes_back_exactly_and_is_shown_exactly(value: Any) -> None:
    text = sealed_json.stored(value)

    assert sealed_json.opened(text, EXECUTION) == value
    assert sealed_json.loads(sealed_json.shown(text)) == value


@REPEATED
@given(VALUES, st.lists(SECRETS | st.sampled_from(LOOKALIKES).filter(lambda text: len(text) > 3), max_size=3))
def test_any_value_with_secrets_comes_back_exactly_and_only_in_its_execution(value: Any, secrets: list[str]) -> None:
    text = sealed_json.sealed([value, *secrets], [Mask(secrets)], EXECUTION)

    assert sealed_json.opened(text, EXECUTION) == [value, *secrets]
    for secret in secrets:
        assert secret not in json.dumps(json.loads(sealed_json.shown(text))[1:], ensure_ascii=False)
    if secrets:
        with pytest.raises(Unreadable):
            sealed_json.opened(text, OTHER)


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@REPEATED
@given(secret=SECRETS, around=CHARACTERS)
@example(secret='p\u00e4ss/w+rd "x" & <y>\\z%', around="")
@example(secret="line one of the key\nline two of the key\r\nend\n", around="\n")
@example(secret="~'()*!-_.;:@=,$", around=" ")
def test_nothing_shown_holds_a_secret_in_an_encoding_of_ours(
    encode: Callable[[str], str], secret: str, around: str
) -> None:
    assume(secret.strip() not in MASK and len(secret.strip()) > 3)
    sent = encode(secret)
    value: Any = [f"{around}{sent}{around}", {sent: 1}]

    text = sealed_json.sealed(value, [Mask([secret])], EXECUTION)

    assert sealed_json.opened(text, EXECUTION) == sealed_json.loads(sealed_json.dumps(value))
    shown = json.loads(sealed_json.shown(text))
    assert MASK in shown[0] and MASK in next(iter(shown[1]))
    left = shown[0].replace(MASK, "")
    assert len(left) <= 2 * len(around) + len("http://127.0.0.1/?key=") + 2, "what is no part of the secret"
    assert secret not in left


@REPEATED
@given(VALUES, SECRETS, st.integers(len(sealed_json.HEADER), 400))
def test_an_excerpt_that_is_cut_anywhere_shows_nothing_of_a_seal(value: Any, secret: str, length: int) -> None:
    text = sealed_json.sealed([value, f"a{secret}b", value], [Mask([secret])], EXECUTION)
    token = max((token for found in sealed_json.SEAL.findall(text) for token in found), key=len)

    shown = sealed_json.shown(text[:length])

    assert token[:20] not in shown.replace(ENCRYPTED, "")
    whole = sealed_json.shown(text)
    assert whole.startswith(shown.rstrip(MASK[0]).rstrip(MARK))


@REPEATED
@given(TEXTS, st.integers(0, 60))
def test_what_an_older_release_stored_is_masked_and_opened_for_nobody(text: str, length: int) -> None:
    old = json.dumps([text, f"key: {MARK}sealed:{ENCRYPTED}\ue001."], ensure_ascii=False)

    assert sealed_json.shown(old).count(ENCRYPTED) <= text.count(ENCRYPTED)
    assert f"{MARK}sealed:" not in sealed_json.shown(old[:-length] if length else old)
    with pytest.raises(Unreadable, match="older release"):
        sealed_json.opened(old, EXECUTION)


@pytest.mark.parametrize(
    "damaged", ["", "{", '"\ud83d"', f"{sealed_json.HEADER}[", f'{sealed_json.HEADER}"{MARK}AA{MARK}"']
)
def test_what_is_damaged_is_unreadable_and_no_other_error(damaged: str) -> None:
    with pytest.raises(Unreadable):
        sealed_json.opened(damaged, EXECUTION)


def test_numbers_that_hold_a_secret_are_sealed_and_keep_their_type() -> None:
    value: Any = {"pin": 48151623, "price": 1.48151623, "long": 481516234815162348151623, "other": 7}

    text = sealed_json.sealed(value, [Mask(["48151623"])], EXECUTION)

    assert sealed_json.loads(sealed_json.shown(text)) == {"pin": MASK, "price": MASK, "long": MASK, "other": 7}
    assert sealed_json.opened(text, EXECUTION) == value


def test_what_holds_too_many_secrets_to_tell_apart_is_a_secret_as_a_whole() -> None:
    value: Any = {"echo": "s3cr3t, and again: " * (MANY + 1), "id": 7}

    text = sealed_json.sealed(value, [Mask(["s3cr3t"])], EXECUTION)

    assert sealed_json.shown(text) == f'"{MASK}"'
    assert sealed_json.opened(text, EXECUTION) == value
    assert sealed_json.hidden(value["echo"], [Mask(["s3cr3t"])]) == MASK


@pytest.mark.parametrize(
    "secrets", [["xabc", "abcdefgh"], ["user", "username-and-password"], ["a" * 200, "a" * 90 + "b"]]
)
def test_secrets_that_overlap_are_all_masked(secrets: list[str]) -> None:
    value: Any = [f"x{secret}z" for secret in secrets]

    shown = sealed_json.shown(sealed_json.sealed(value, [Mask(secrets)], EXECUTION))

    assert shown == json.dumps([f"x{MASK}z"] * len(secrets), ensure_ascii=False, separators=(",", ":")) or not any(
        secret in shown for secret in secrets
    )
    assert all(len(text) <= len(MASK) + 2 for text in json.loads(shown))


def test_a_key_of_many_lines_is_masked_line_by_line_too() -> None:
    lines = [b64encode(bytes(range(at, at + 48))).decode() for at in range(0, 192, 48)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
    echoes: Any = {"as sent": key, "crlf": key.replace("\n", "\r\n"), "lines": key.splitlines(), "one": "".join(lines)}
    echoes |= {"quoted": json.dumps(key), "cut": f"… {lines[2]} …"}

    shown = sealed_json.shown(sealed_json.sealed(echoes, [Mask([key])], EXECUTION))

    assert not any(line in shown for line in lines)


def test_half_a_character_beside_a_secret_costs_nothing() -> None:
    text = sealed_json.sealed(["s3cr3t\ud83d", {"s3cr3t": "\ud83d\ude00"}], [Mask(["s3cr3t"])], EXECUTION)

    assert sealed_json.opened(text, EXECUTION) == ["s3cr3t\ufffd", {"s3cr3t": "😀"}]


@pytest.mark.parametrize("shown", [8, 20, 40, 63, 64, 70])
@pytest.mark.parametrize(
    "secret", ["sk-" + "0123456789abcdefg" * 5, "two words, and more of them than a quotation holds: " * 2]
)
def test_a_message_that_quotes_a_part_of_a_secret_shows_none_of_it(secret: str, shown: int) -> None:
    message = f"“{'x' * (80 - shown)}{secret[:shown]}” is not an e-mail address, nor is “{secret}” or “else”."

    hidden = sealed_json.hidden(message, [Mask([secret])])

    assert hidden == f"“{'x' * (80 - shown)}{MASK}” is not an e-mail address, nor is “{MASK}” or “else”."


def test_a_secret_with_half_a_character_is_found_where_it_is_stored() -> None:
    odd = "half \ud83d of it\0"

    text = sealed_json.sealed([odd, f"x{odd}x"], [Mask([odd])], EXECUTION)

    assert json.loads(sealed_json.shown(text)) == [MASK, f"x{MASK}x"]
    assert sealed_json.hidden(f"“{odd}” is wrong.", [Mask([odd])]) == f"“{MASK}” is wrong."
