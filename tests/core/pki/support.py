"""Values and builders that the tests of this floor share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from hypothesis import strategies as st

from certctl_core.pki import keys, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from certctl_core.pki.names import parse_general_name

NOW = datetime.now(UTC).replace(microsecond=0)
"""OpenSSL as a judge looks at the real clock; nothing here depends on the value."""

FAST = [
    KeyAlgorithm.RSA_2048,
    KeyAlgorithm.ECDSA_P256,
    KeyAlgorithm.ECDSA_P384,
    KeyAlgorithm.ECDSA_P521,
    KeyAlgorithm.ED25519,
]
"""What the installed OpenSSL program knows."""

POST_QUANTUM = [KeyAlgorithm.ML_DSA_44, KeyAlgorithm.ML_DSA_65, KeyAlgorithm.ML_DSA_87]


@dataclass(frozen=True, slots=True, kw_only=True)
class CA:
    key: SigningKey
    cert: x509.Certificate


def sign_with(key: SigningKey) -> tuple[Any, Any]:
    """A key and its hash for a builder of cryptography, whose types name each kind of key alone."""
    return key, keys.signature_hash(key.public_key())


def make_spec(public_key, *names: str, **changes) -> pki_x509.LeafSpec:
    """A plain TLS leaf for ``names`` (default www.example.com), with changes."""
    values = {
        "public_key": public_key,
        "common_name": "www.example.com",
        "names": tuple(parse_general_name(name) for name in names or ("www.example.com",)),
        "ekus": ("serverAuth",),
        "not_before": NOW - timedelta(minutes=1),
        "not_after": NOW + timedelta(days=90),
        "serial": serials.new_serial(),
    }
    return pki_x509.LeafSpec(**(values | changes))


MUTATIONS = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255)), min_size=1, max_size=4)
"""Byte positions (taken modulo the length) and the values to put there."""


def mutate(data: bytes, mutations: list[tuple[int, int]]) -> bytes:
    """Overwrite some bytes."""
    changed = bytearray(data)
    for position, value in mutations:
        changed[position % len(changed)] = value
    return bytes(changed)
