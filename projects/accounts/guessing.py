"""What wrong sign-ins cost: the next tries of the same name from the same address, later ones of the address, and few
of the name from anywhere else.

A stranger cannot lock anybody out. From where a person has signed in before, only that place's own tries count: a
browser is known by a signed cookie, an address by a row. Known and unknown names are treated alike.
"""

from __future__ import annotations

import ipaddress
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from projects.models.tries import Claim, Rule, Tries

COOKIE = f"agentos_device_{settings.PORT}"
KNOWN_FOR = timedelta(days=180)
SALT = "projects.accounts.guessing"

HERE = Rule("sign-in: name and address", settings.SIGN_IN_TRIES, timedelta(minutes=5))
DEVICE = Rule("sign-in: name and browser", 2 * settings.SIGN_IN_TRIES, timedelta(minutes=1))
# Above what the rule HERE leaves to one address in the same time, or a single stranger could use it up.
NAME = Rule("sign-in: name", 10 * settings.SIGN_IN_TRIES, timedelta(minutes=1))
ADDRESS = Rule("sign-in: address", 10 * settings.SIGN_IN_TRIES, timedelta(seconds=30))
PLACE = Rule("sign-in: known place", 1, KNOWN_FOR)


def address_of(request: HttpRequest) -> str:
    """Return whose tries a request uses: its address, or of IPv6 the network that one customer is given."""
    text: str = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


@dataclass(frozen=True, slots=True)
class Guess:
    """One try to sign in with a name, from the place of a request."""

    request: HttpRequest
    name: str

    @property
    def who(self) -> str:
        return unicodedata.normalize("NFKC", self.name)

    def claims(self) -> list[Claim]:
        """Return what the try uses up."""
        if device := self.device:
            return [DEVICE.of(self.who, device)]
        here = address_of(self.request)
        if Tries.objects.knows(PLACE.of(self.who, here)):
            return [HERE.of(self.who, here)]
        return [ADDRESS.of(here), HERE.of(self.who, here), NAME.of(self.who)]

    @property
    def device(self) -> str:
        """The browser's id, if the person has signed in with it before."""
        given = self.request.COOKIES.get(COOKIE, "")
        try:
            value = signing.loads(given, salt=SALT, max_age=KNOWN_FOR)
        except signing.BadSignature:
            return ""
        return str(value["id"]) if value.get("who") == self.who else ""

    def remember(self, response: HttpResponse) -> None:
        """Know the browser and the address from now on: the person has proved who they are."""
        Tries.objects.remember(PLACE.of(self.who, address_of(self.request)))
        value = signing.dumps({"who": self.who, "id": self.device or secrets.token_hex(8)}, salt=SALT)
        response.set_cookie(
            COOKIE, value, max_age=KNOWN_FOR, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
        )


def in_words(wait: timedelta) -> str:
    """Return how long to wait, rounded up: "40 seconds", "5 minutes"."""
    seconds = max(1, -int(-wait.total_seconds() // 1))
    if seconds < 60:
        return f"{seconds} second{'s' * (seconds > 1)}"
    minutes = -(-seconds // 60)
    return f"{minutes} minute{'s' * (minutes > 1)}"
