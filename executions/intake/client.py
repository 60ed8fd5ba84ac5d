"""Who is at the other end of a connection, as far as a proxy in front can be believed."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

NETWORK_BITS = 64  # of an IPv6 address: whoever has one address of such a network has all of them


@lru_cache(maxsize=4096)
def client_address(peer: str, forwarded: bytes, proxies: int) -> str:
    """Return the client's address: the peer's, or behind `proxies` proxies what the outermost of them has seen.

    Each proxy adds the address of its own peer at the end of X-Forwarded-For, so that what a client itself writes
    there stands further left and counts for nothing.
    """
    if not proxies or not forwarded:
        return peer
    seen = forwarded.decode("latin-1").split(",")
    return _address(seen[max(0, len(seen) - proxies)]) or peer


def _address(text: str) -> str:
    """Return an entry of X-Forwarded-For without port and brackets; "" when it is no address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


@lru_cache(maxsize=4096)
def owner_of(address: str) -> str:
    """Return whose share an address uses: its own, or for IPv6 its network's."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> NETWORK_BITS << NETWORK_BITS)}/{NETWORK_BITS}"
