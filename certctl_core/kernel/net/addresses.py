"""Addresses: which of them are reserved, what hides inside them, and who the client is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 32
"""Entries of X-Forwarded-For that are looked at; no real chain of proxies is longer."""


def _networks(*ranges: tuple[str, str]) -> tuple[tuple[IPNetwork, str], ...]:
    return tuple((ipaddress.ip_network(text), name) for text, name in ranges)


RESERVED = _networks(
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("64:ff9b:1::/48", "local translation"),
    ("100::/64", "discard"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("fd00:ec2::254/128", "cloud metadata"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
"""Never a destination of ours unless allowed by name (spec 06 NET-4); with the broadcast address."""

PRIVATE = _networks(
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.64.0.0/10", "carrier NAT"),
    ("fc00::/7", "unique local"),
)
"""Private CAs live there: blocked only with CERTCTL_OUTBOUND_BLOCK_PRIVATE (spec 08 NET-2)."""

# Where an IPv6 address carries an IPv4 address, and how far its last bit is from the end.
_EMBEDDED: tuple[tuple[ipaddress.IPv6Network, int, int], ...] = (
    (ipaddress.IPv6Network("::/96"), 0, 0),  # IPv4-compatible, RFC 4291 §2.5.5.1
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0, 0),  # IPv4-mapped, RFC 4291 §2.5.5.2
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0, 0),  # IPv4-translated, RFC 2765 §2.1
    (ipaddress.IPv6Network("64:ff9b::/96"), 0, 0),  # NAT64, RFC 6052 §2.1
    (ipaddress.IPv6Network("2002::/16"), 80, 0),  # 6to4, RFC 3056 §2
    (ipaddress.IPv6Network("2001::/32"), 64, 0),  # Teredo server, RFC 4380 §4
    (ipaddress.IPv6Network("2001::/32"), 0, 0xFFFFFFFF),  # Teredo client, inverted
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def forms(address: IPAddress) -> Iterator[IPAddress]:
    """The address itself and every IPv4 address that a router could unwrap from it."""
    yield address
    if address.version == 4:  # noqa: PLR2004 - the IP version
        return
    for network, shift, mask in _EMBEDDED:
        # :: and ::1 are IPv6 addresses of their own, not IPv4-compatible ones.
        if address in network and int(address) > 1:
            yield ipaddress.IPv4Address((int(address) >> shift & 0xFFFFFFFF) ^ mask)


def within(address: IPAddress, ranges: Sequence[tuple[IPNetwork, str]]) -> str | None:
    """The name of the range that holds the address, or None."""
    for network, name in ranges:
        if network.version == address.version and address in network:
            return name
    return None


@lru_cache(maxsize=4096)
def parse_address(text: str) -> IPAddress | None:
    """Read an address as headers and sockets write it, or None.

    Takes brackets, a port, an IPv6 zone, and turns an IPv4-mapped address into the IPv4 one.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address in _MAPPED:  # noqa: PLR2004 - the IP version
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def client_ip(peer: str, forwarded_for: str, trusted: Sequence[IPNetwork]) -> str:
    """The address of the client (spec 05 §16 NET-1): for limits, audit, sessions and logs alike.

    Args:
        peer: The other end of the connection, with or without port and brackets.
        forwarded_for: All X-Forwarded-For fields joined with commas; empty if there are none.
        trusted: The proxies whose word counts.

    Returns:
        The peer, unless it is trusted; then the rightmost hop that is not. An unreadable hop ends
        the walk: nobody who is trusted vouches for what is left of it. Without port and brackets; a
        peer that is no address (a socket path) comes back as it is.
    """
    address = parse_address(peer)
    if address is None:
        return peer
    if not trusted or not forwarded_for or not _is_trusted(address, trusted):
        return str(address)
    for text in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
        hop = parse_address(text)
        if hop is None:
            break
        address = hop
        if not _is_trusted(hop, trusted):
            break
    return str(address)


def _is_trusted(address: IPAddress, trusted: Sequence[IPNetwork]) -> bool:
    return any(network.version == address.version and address in network for network in trusted)
