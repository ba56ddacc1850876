"""Name constraints (RFC 5280 §4.2.1.10): is a name inside what a CA may certify?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from cryptography import x509


def find_violation(
    constraints: x509.NameConstraints,
    *,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    common_name_counts: bool = False,
) -> str | None:
    """Give the first name outside the constraints, as text, or None.

    Args:
        constraints: The extension of one CA above the certificate.
        subject: The subject of the certificate; held against directoryName constraints, its
            emailAddress attributes against rfc822Name constraints.
        names: Its SubjectAltName values.
        common_name_counts: Also hold a common name that reads as a host name against dNSName
            constraints when there is no DNS name (end-entity certificates).
    """
    permitted = list(constraints.permitted_subtrees or ())
    excluded = list(constraints.excluded_subtrees or ())
    for name in _all_names(subject, names, common_name_counts=common_name_counts):
        kind = type(name)
        if any(_within(name, tree, excluding=True) for tree in excluded if type(tree) is kind):
            return _text(name)
        same_kind = [tree for tree in permitted if type(tree) is kind]
        if same_kind and not any(_within(name, tree, excluding=False) for tree in same_kind):
            return _text(name)
    return None


def _all_names(
    subject: x509.Name, names: Sequence[x509.GeneralName], *, common_name_counts: bool
) -> Iterable[x509.GeneralName]:
    yield from names
    if subject.rdns:
        yield x509.DirectoryName(subject)
    for attribute in subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS):
        if isinstance(attribute.value, str) and attribute.value.isascii():
            yield x509.RFC822Name(attribute.value)
    if common_name_counts and not any(isinstance(name, x509.DNSName) for name in names):
        for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
            if isinstance(attribute.value, str) and _reads_as_host(attribute.value):
                yield x509.DNSName(attribute.value)


def _reads_as_host(text: str) -> bool:
    labels = text.removeprefix("*.").split(".")
    return len(labels) > 1 and all(
        label.isascii() and label.replace("-", "").replace("_", "").isalnum() for label in labels
    )


def _text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    return str(name.value)


def _within(name: x509.GeneralName, tree: x509.GeneralName, *, excluding: bool) -> bool:
    if isinstance(name, x509.DNSName) and isinstance(tree, x509.DNSName):
        return _dns(name.value.lower(), tree.value.lower(), excluding=excluding)
    if isinstance(name, x509.RFC822Name) and isinstance(tree, x509.RFC822Name):
        return _email(name.value, tree.value)
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(
        tree, x509.UniformResourceIdentifier
    ):
        return _uri(name.value, tree.value.lower(), excluding=excluding)
    if isinstance(name, x509.IPAddress) and isinstance(tree, x509.IPAddress):
        network, address = tree.value, name.value
        if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and isinstance(
            address, ipaddress.IPv4Address | ipaddress.IPv6Address
        ):
            return address in network
        return excluding
    if isinstance(name, x509.DirectoryName) and isinstance(tree, x509.DirectoryName):
        return _directory(name.value, tree.value)
    # A constrained type we cannot compare: outside what is permitted, inside what is excluded.
    return excluding


def _dns(name: str, tree: str, *, excluding: bool) -> bool:
    if not tree:
        return True
    base = tree.removeprefix(".")
    if name.endswith("." + base) or (name == base and base == tree):
        return True
    # "*.example.com" stands for "secret.example.com" as well.
    return (
        excluding
        and name.startswith("*.")
        and base.endswith(name[1:])
        and "." not in base[: -len(name[1:])]
    )


def _email(name: str, tree: str) -> bool:
    local, _, host = name.rpartition("@")
    if "@" in tree:
        tree_local, _, tree_host = tree.rpartition("@")
        return local == tree_local and host.lower() == tree_host.lower()
    host, tree = host.lower(), tree.lower()
    if not tree:
        return True
    return host.endswith(tree) if tree.startswith(".") else host == tree


def _uri(name: str, tree: str, *, excluding: bool) -> bool:
    # "If the URI does not include an authority component that includes a host name specified
    # as a fully qualified domain name …, then the application MUST reject" (§4.2.1.10).
    try:
        host = (urlsplit(name).hostname or "").lower()
    except ValueError:
        return excluding
    if not host or ":" in host or host.replace(".", "").isdigit():
        return excluding
    if not tree:
        return True
    return host.endswith(tree) if tree.startswith(".") else host == tree


def _directory(name: x509.Name, tree: x509.Name) -> bool:
    if len(tree.rdns) > len(name.rdns):
        return False
    return all(
        _folded(mine) == _folded(theirs) for mine, theirs in zip(name.rdns, tree.rdns, strict=False)
    )


def _folded(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str | bytes]]:
    return frozenset(
        (
            attribute.oid.dotted_string,
            " ".join(attribute.value.lower().split())
            if isinstance(attribute.value, str)
            else attribute.value,
        )
        for attribute in rdn
    )


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Compare two distinguished names (RFC 5280 §7.1: case and white space do not count)."""
    if one == other:
        return True
    return len(one.rdns) == len(other.rdns) and _directory(one, other)
