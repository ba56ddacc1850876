"""Any path length and name constraint: our verdict is OpenSSL's (02 HIER-7, acceptance 8)."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certctl_core.pki import chain
from certctl_core.pki.errors import ChainError
from certctl_core.pki.subtrees import parse_subtree
from tests.core.pki.support import NOW
from tests.core.pki.test_chain import build, ca, end

HOSTS = ("example.com", "a.example.com", "b.a.example.com", "example.org", "www.example.org")
TREES = (
    "DNS:example.com",
    "DNS:.example.com",
    "DNS:a.example.com",
    "DNS:example.org",
    "IP:10.0.0.0/8",
    "IP:10.1.0.0/16",
    "email:example.com",
    "email:.example.com",
    "email:x@example.com",
    "URI:example.com",
    "URI:.example.com",
)
NAMES: tuple[x509.GeneralName, ...] = (
    *map(x509.DNSName, HOSTS),
    x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
    x509.IPAddress(ipaddress.ip_address("10.9.2.3")),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.RFC822Name("x@example.com"),
    x509.RFC822Name("y@mail.example.com"),
    x509.UniformResourceIdentifier("https://example.com/"),
    x509.UniformResourceIdentifier("https://www.example.com/x"),
)

trees = st.lists(st.sampled_from(TREES), max_size=2, unique=True)
levels = st.tuples(st.none() | st.integers(0, 3), trees, trees)


def constraints(permitted: list[str], excluded: list[str]) -> x509.NameConstraints | None:
    if not permitted and not excluded:
        return None
    return x509.NameConstraints(
        [parse_subtree(text) for text in permitted] or None,
        [parse_subtree(text) for text in excluded] or None,
    )


@pytest.mark.spec("02/HIER-2", "02/HIER-3", "02/HIER-7")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    authorities=st.lists(levels, min_size=1, max_size=4),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
)
def test_openssl_agrees_on_every_chain(
    openssl: Any,
    authorities: list[tuple[int | None, list[str], list[str]]],
    names: list[x509.GeneralName],
) -> None:
    layers = [
        ca(f"CA {number}", path_length=length, constraints=constraints(permitted, excluded))
        for number, (length, permitted, excluded) in enumerate(authorities)
    ]
    leaf, *others, root = build(*layers, end(*names))
    try:
        chain.verify_path(leaf, others, [root], NOW)
    except ChainError:
        ours = False
    else:
        ours = True
    told = openssl(
        "verify", "-CAfile", "root", "-untrusted", "others", "leaf",
        check=False, root=root, leaf=leaf, others=others or [root],
    )  # fmt: skip
    assert told.strip().endswith("leaf: OK") is ours, told
