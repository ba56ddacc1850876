"""Pure decisions about agents."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Sequence


def is_name_allowed(pattern: str | None, name: str) -> bool:
    """Whether a token's name pattern (``*`` and ``?``) lets an agent have this name."""
    return pattern is None or fnmatch.fnmatchcase(name, pattern)


def is_source_allowed(cidrs: Sequence[str], address: str) -> bool:
    """Whether an address may use a token; no list lets every address in.

    An IPv4 address in IPv6 form counts as the IPv4 address.
    """
    if not cidrs:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return any(found in ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
