"""The URLs and addresses that may be dialled: public ones, and those that OUTBOUND_ALLOW names."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from yarl import URL

from connectors.sdk.call import StepError

# Where web servers listen: a step must not speak to the mail server, database or cache of anybody.
OPEN_PORTS = frozenset({80, 443, *range(8000, 9000)})

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What is not a public unicast address, and Azure's wire server, which has one (IANA special-purpose registries).
BLOCKED_4 = [
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
]  # fmt: skip
# IPv6 has one block of public addresses; some within it are not, or carry an IPv4 address inside (Teredo, 6to4).
GLOBAL_6 = ipaddress.ip_network("2000::/3")
BLOCKED_6 = [
    ipaddress.ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
]

HOST_LIMIT = 253  # characters of a name in DNS; the rules of international names are slow over long ones

ENTRY_6 = re.compile(r"\[([^\]]*)\](/\d+|)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Allow:
    """The private networks that the operator opened, each for one port or for all."""

    entries: tuple[tuple[Network, int | None], ...] = ()

    def covers(self, address: Address, port: int) -> bool:
        """Return whether an entry opens this address for this port."""
        return any(
            address.version == network.version and address in network and only in (None, port)
            for network, only in self.entries
        )


def parse_allow(text: str) -> Allow:
    """Return OUTBOUND_ALLOW: networks, each with an optional `:port` (an IPv6 one in brackets then).

    Raise ValueError naming the entry that cannot be read.

        parse_allow("10.0.0.0/8:8080, [fd00::/8]:443, 192.168.7.1")
    """
    return Allow(tuple(_entry(part.strip()) for part in text.split(",") if part.strip()))


def _entry(text: str) -> tuple[Network, int | None]:
    bracketed = ENTRY_6.fullmatch(text)
    if bracketed:
        network, port = bracketed[1] + bracketed[2], bracketed[3]
    else:
        network, port = text.split(":") if text.count(":") == 1 else (text, "")
    try:
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError
        return ipaddress.ip_network(network, strict=False), int(port) if port else None
    except ValueError:
        raise ValueError(
            f"OUTBOUND_ALLOW: “{text}” is not a network with an optional port, such as 10.0.0.0/8:8080."
        ) from None


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet; an IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped  # ::ffff:10.0.0.1 dials 10.0.0.1
        if mapped is None:
            return address in GLOBAL_6 and not any(address in block for block in BLOCKED_6)
        address = mapped
    return not any(address in block for block in BLOCKED_4)


def checked_url(url: str) -> URL:
    """Return a URL that may be asked for; raise StepError naming the rule that it breaks."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise StepError("URL is not valid.", code="bad_url") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise StepError("URL must start with http:// or https://.", code="bad_url")
    # It would be shown in the log with the URL.
    if parts.username or parts.password:
        raise StepError("URL must not contain a user name or password. Send them in a header.", code="bad_url")
    # Libraries disagree on where the host ends at a backslash, so that another one than was checked could be dialled.
    if not parts.hostname or len(parts.hostname) > HOST_LIMIT or "\\" in url or port == 0:
        raise StepError("URL is not valid.", code="bad_url")
    try:
        return URL(url.strip())
    except (ValueError, UnicodeError):
        raise StepError("URL is not valid.", code="bad_url") from None
