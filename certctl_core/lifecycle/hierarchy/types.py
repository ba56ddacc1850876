"""The values of this room: the states of a CA in a tree, and the CA itself."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography import x509

from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.values import dataclass


class CAState(StrEnum):
    """Where a CA of a tree stands (02 §9).

    ``created`` waits for its certificate; ``active`` signs; ``retiring`` signs nothing new;
    ``retired`` has nothing active below it; ``revoked`` is on its parent's CRL. CRL and OCSP go
    on for what a CA has signed.
    """

    CREATED = "created"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"


TRANSITIONS: dict[CAState, frozenset[CAState]] = {
    CAState.CREATED: frozenset({CAState.ACTIVE, CAState.REVOKED}),
    CAState.ACTIVE: frozenset({CAState.RETIRING, CAState.REVOKED}),
    CAState.RETIRING: frozenset({CAState.RETIRED, CAState.REVOKED}),
    CAState.RETIRED: frozenset({CAState.REVOKED}),
    CAState.REVOKED: frozenset(),
}
"""From → to."""

OVER = frozenset({CAState.RETIRED, CAState.REVOKED})
"""Nothing of such a CA keeps its parent in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CANode:
    """One CA of a tree.

    Attributes:
        subject: RFC 4514; as asked for while there is no certificate.
        cert_pem: None while ``created``.
        chain_pem: CAs between it and its parent that are no part of the tree; mostly empty.
        csr_pem: The request that another CA signs, or None.
        key_driver_id: Signer and reference of its key; None where the key is not here.
        ca_key_id: SHA-1 of the public key bits, 40 hex digits.
        name_constraints: ``[{"permitted": […], "excluded": […]}]``; empty without any.
        ocsp_responder_url: What its certificates name instead of our OCSP address, or None.
    """

    id: str
    owning_issuer_id: str
    parent_ca_id: str | None
    name: str
    subject: str
    state: CAState
    cert_pem: str | None
    chain_pem: str
    csr_pem: str | None
    key_driver_id: str | None
    ca_key_id: str
    not_before: datetime | None
    not_after: datetime | None
    path_len_constraint: int | None
    name_constraints: list[dict[str, list[str]]]
    ocsp_responder_url: str | None
    metadata: dict[str, str]
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """Where a signer keeps a key."""

    signer: str
    ref: str

    @property
    def text(self) -> str:
        """As ``key_driver_id``: ``signer:reference``; a PKCS#11 URI says its signer itself."""
        mark = f"{self.signer}:"
        return self.ref if self.ref.startswith(mark) else mark + self.ref

    @classmethod
    def of(cls, text: str) -> KeyPlace:
        """Read a ``key_driver_id``; without a signer it is a key file's."""
        signer, _, ref = text.partition(":")
        if signer == "pkcs11":
            return cls(signer=signer, ref=text)
        return cls(signer=signer, ref=ref) if ref else cls(signer="file", ref=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CAWish:
    """What a new CA is asked to be.

    Attributes:
        subject: (attribute, value) in order, the common name not among them.
        permitted / excluded: Name constraints, as text.
    """

    common_name: str
    subject: tuple[tuple[str, str], ...] = ()
    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    ttl_days: int = 1825
    path_length: int | None = None
    permitted: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CAPlan:
    """What a new CA will be: every rule has been asked.

    Attributes:
        path: Its parent's certificate and those above, the root last.
    """

    parent: CANode
    path: tuple[x509.Certificate, ...]
    subject: x509.Name
    not_before: datetime
    not_after: datetime
    path_length: int | None
    constraints: x509.NameConstraints | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNode:
    """A CA that is ready to be stored.

    Attributes:
        path: What stands above it, parent first, root last; empty for a root.
    """

    name: str
    parent_ca_id: str | None
    key: KeyPlace | None
    ca_key_id: str
    certificate: x509.Certificate | None = None
    path: tuple[x509.Certificate, ...] = ()
    csr_pem: str | None = None
    subject: str = ""
    path_length: int | None = None
    constraints: x509.NameConstraints | None = None
    ocsp_responder_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
