"""Name constraints between two CAs (RFC 5280 §4.2.1.10): read, compare, hand down.

A subtree is written as certificates show names: ``DNS:example.com``, ``IP:10.0.0.0/8``,
``email:example.com``, ``URI:.example.com``, ``DirName:O=Example,C=DE``. Without a label a network
is an IP constraint, text with ``=`` a directory name, with ``@`` a mailbox, all else a DNS name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from cryptography import x509

from certctl_core.pki._constraints import find_violation, same_name
from certctl_core.pki._extension_text import general_name_text
from certctl_core.pki.errors import NameRejected, SubtreeRejected
from certctl_core.pki.names import parse_dns

__all__ = [
    "combine",
    "constraints_of",
    "find_violation",
    "parse_subtree",
    "subtree_text",
    "within",
]

MAX_TEXT = 1024
"""Longer than any name that a certificate may hold in one piece."""

_LABEL = re.compile(r"(dns|ip|email|uri|dirname):(.*)", re.IGNORECASE | re.DOTALL)


def parse_subtree(text: str) -> x509.GeneralName:
    """Read one subtree.

    Raises:
        SubtreeRejected: Not one of the forms above.
    """
    text = text.strip()
    found = _LABEL.fullmatch(text)
    kind, value = (found[1].lower(), found[2].strip()) if found else (_guess(text), text)
    if not value or len(value) > MAX_TEXT:
        raise SubtreeRejected(name=ascii(text[:64]), reason="it is empty or too long")
    try:
        return _READERS[kind](value)
    except (ValueError, NameRejected) as error:
        reason = f"it is no {_WORDS[kind]}"
        raise SubtreeRejected(name=ascii(text[:64]), reason=reason) from error


def subtree_text(name: x509.GeneralName) -> str:
    """Write a subtree so that ``parse_subtree`` reads it again."""
    return general_name_text(name)


def _guess(text: str) -> str:
    if "=" in text:
        return "dirname"
    if "@" in text:
        return "email"
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "dns"
    return "ip"


def _host(text: str) -> str:
    """A host or, with a leading dot, everything below it."""
    host = parse_dns(text.removeprefix("."))
    if host.startswith("*"):
        raise SubtreeRejected(name=ascii(text[:64]), reason="a constraint has no wildcard")
    return f".{host}" if text.startswith(".") else host


def _email(text: str) -> x509.GeneralName:
    local, at, host = text.rpartition("@")
    if at and (not local or not local.isascii() or any(sign in local for sign in ' @,<>"')):
        raise SubtreeRejected(name=ascii(text[:64]), reason="it is no mailbox")
    return x509.RFC822Name(local + at + _host(host))


def _directory(text: str) -> x509.GeneralName:
    name = x509.Name.from_rfc4514_string(text)
    if not name.rdns:
        raise SubtreeRejected(name=ascii(text[:64]), reason="it is empty")
    return x509.DirectoryName(name)


_READERS = {
    "dns": lambda text: x509.DNSName(_host(text)),
    "ip": lambda text: x509.IPAddress(ipaddress.ip_network(text)),
    "email": _email,
    "uri": lambda text: x509.UniformResourceIdentifier(_host(text)),
    "dirname": _directory,
}
_WORDS = {
    "dns": "DNS name",
    "ip": "network such as 10.0.0.0/8",
    "email": "mailbox, host or .domain",
    "uri": "host or .domain",
    "dirname": "RFC 4514 name",
}


def within(tree: x509.GeneralName, upper: x509.GeneralName) -> bool:
    """Whether everything that ``tree`` stands for lies inside ``upper``; False across types."""
    if isinstance(tree, x509.DNSName) and isinstance(upper, x509.DNSName):
        return _dns_within(tree.value.lower(), upper.value.lower())
    if isinstance(tree, x509.IPAddress) and isinstance(upper, x509.IPAddress):
        return _network_within(tree.value, upper.value)
    if isinstance(tree, x509.RFC822Name) and isinstance(upper, x509.RFC822Name):
        return _mail_within(tree.value, upper.value)
    if isinstance(tree, x509.UniformResourceIdentifier) and isinstance(
        upper, x509.UniformResourceIdentifier
    ):
        return _host_within(tree.value.lower(), upper.value.lower())
    if isinstance(tree, x509.DirectoryName) and isinstance(upper, x509.DirectoryName):
        mine, theirs = tree.value.rdns, upper.value.rdns
        return same_name(x509.Name(mine[: len(theirs)]), upper.value)
    return False


def _dns_within(tree: str, upper: str) -> bool:
    """``example.com`` covers itself and what is below it, ``.example.com`` only the latter."""
    base = upper.removeprefix(".")
    if tree == upper or not upper:
        return True
    return tree.endswith("." + base) or (tree == base and not upper.startswith("."))


def _host_within(tree: str, upper: str) -> bool:
    """``example.com`` is one host, ``.example.com`` every host below it."""
    if tree == upper or not upper:
        return True
    return upper.startswith(".") and tree.endswith(upper)


def _mail_within(tree: str, upper: str) -> bool:
    local, at, host = tree.rpartition("@")
    upper_local, upper_at, upper_host = upper.rpartition("@")
    if upper_at:
        return bool(at) and local == upper_local and host.lower() == upper_host.lower()
    return _host_within(host.lower(), upper.lower())


def _network_within(tree: object, upper: object) -> bool:
    for kind in (ipaddress.IPv4Network, ipaddress.IPv6Network):
        if isinstance(tree, kind) and isinstance(upper, kind):
            return tree.subnet_of(upper)  # type: ignore[arg-type]  # both are of one version
    return False


def constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """The name constraints that a CA certificate carries itself."""
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def combine(
    above: Sequence[x509.NameConstraints],
    *,
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
) -> x509.NameConstraints | None:
    """What a new CA carries below constrained ones (02 HIER-3).

    Args:
        above: The constraints of every CA above it, its parent's first.
        permitted: Asked for; each inside what every CA above permits of its type.
        excluded: Asked for.

    Returns:
        The constraints asked for, with all exclusions from above and, for types that the new CA
        does not mention, what the nearest CA above permits. None without any.

    Raises:
        SubtreeRejected: A permitted subtree lies outside what a CA above permits, or inside what
            one excludes.
    """
    for tree in permitted:
        for constraints in above:
            _check_permitted(tree, constraints)
    allowed = _unique(permitted)
    for constraints in above:
        known = {type(tree) for tree in allowed}
        inherited = [
            tree for tree in constraints.permitted_subtrees or () if type(tree) not in known
        ]
        allowed += _unique(inherited)
    forbidden = _unique(
        [*excluded, *(tree for one in above for tree in one.excluded_subtrees or ())]
    )
    if not allowed and not forbidden:
        return None
    return x509.NameConstraints(allowed or None, forbidden or None)


def _check_permitted(tree: x509.GeneralName, upper: x509.NameConstraints) -> None:
    permitted = [one for one in upper.permitted_subtrees or () if type(one) is type(tree)]
    if permitted and not any(within(tree, one) for one in permitted):
        reason = "it lies outside what a CA above permits"
        raise SubtreeRejected(name=subtree_text(tree), reason=reason)
    if any(within(tree, one) for one in upper.excluded_subtrees or ()):
        reason = "a CA above excludes it"
        raise SubtreeRejected(name=subtree_text(tree), reason=reason)


def _unique(trees: Iterable[x509.GeneralName]) -> list[x509.GeneralName]:
    return list(dict.fromkeys(trees))
