"""The values of this room: states of a CA key, what the ledger keeps, what signs."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from certctl_core.lifecycle.authorities.errors import CAKeyUnavailable
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from certctl_core.pki.x509 import IssuerTemplate
from certctl_core.values import dataclass


class CAKeyState(StrEnum):
    """Where a CA key stands (02 §3, §14).

    ``current`` issues; ``member`` is a CA of a tree that signs other CAs, CRLs and OCSP (02 §9);
    ``previous`` only signs CRLs and OCSP for what it issued; ``compromised`` and ``retired`` sign
    nothing more.
    """

    CURRENT = "current"
    MEMBER = "member"
    PREVIOUS = "previous"
    COMPROMISED = "compromised"
    RETIRED = "retired"


TRANSITIONS: dict[CAKeyState, frozenset[CAKeyState]] = {
    CAKeyState.CURRENT: frozenset({CAKeyState.MEMBER, CAKeyState.PREVIOUS, CAKeyState.COMPROMISED}),
    CAKeyState.MEMBER: frozenset({CAKeyState.CURRENT, CAKeyState.PREVIOUS, CAKeyState.COMPROMISED}),
    CAKeyState.PREVIOUS: frozenset(
        {CAKeyState.CURRENT, CAKeyState.MEMBER, CAKeyState.COMPROMISED, CAKeyState.RETIRED}
    ),
    CAKeyState.COMPROMISED: frozenset(),
    CAKeyState.RETIRED: frozenset(),
}
"""From → to. A previous key becomes current again when the operator puts its files back, or a
member when it is taken into a tree; the one that a tree is retiring does not come back."""

MAY_COMPROMISE = frozenset(
    state for state, to in TRANSITIONS.items() if CAKeyState.COMPROMISED in to
)

SIGNING_STATES = frozenset({CAKeyState.CURRENT, CAKeyState.MEMBER, CAKeyState.PREVIOUS})
"""With a private key at hand: for CRLs and OCSP at least."""

CERTIFYING_STATES = frozenset({CAKeyState.CURRENT, CAKeyState.MEMBER})
"""In a tree: may sign another CA."""


class HierarchyMode(StrEnum):
    """How a local issuer is built (02 §9): one CA, or a tree of them of which one issues."""

    SINGLE = "single"
    TREE = "tree"


class CAOrigin(StrEnum):
    """How a CA came to us: made here, read from the operator's files, or as part of a tree."""

    GENERATED = "generated"
    FILE = "file"
    TREE = "tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCA:
    """What a rotation makes; None takes what the issuer's configuration says.

    Attributes:
        common_name: Of the new CA; by default the configured one with the number of the generation.
        algorithm: Of its key.
        validity_days: Its lifetime.
        cross_sign: Whether the former and the new CA certify each other's key.
    """

    common_name: str | None = None
    algorithm: KeyAlgorithm | None = None
    validity_days: int | None = None
    cross_sign: bool = True


class LedgerKind(StrEnum):
    """What a CA key signed."""

    LEAF = "leaf"
    OCSP_RESPONDER = "ocsp_responder"
    SUB_CA = "sub_ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One certificate that a CA key signed.

    Attributes:
        serial: Canonical form (lowercase hex, whole bytes).
        fingerprint_sha256: 64 lowercase hex digits over the DER.
        certificate_id: The managed certificate, or None.
    """

    issuer_id: str
    ca_key_id: str
    serial: str
    kind: LedgerKind
    certificate_id: str | None
    profile_id: str | None
    subject: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    short_lived: bool
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityURLs:
    """Where relying parties find what a CA publishes (02 CERT-13, CERT-14); may be empty.

    Attributes:
        crl: The complete CRL.
        crl_partitions: How many lists its entries are shared out to; 0 for no partitions.
    """

    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    ca_issuers: tuple[str, ...] = ()
    crl_partitions: int = 0

    def crl_of(self, serial: int) -> tuple[str, ...]:
        """What a certificate with this serial number points at: its partition, or all of it."""
        count = self.crl_partitions
        return tuple(f"{url}/{count}-{serial % count}" for url in self.crl) if count else self.crl


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityKey:
    """A CA key with everything that signing with it needs; immutable, shared by threads.

    Attributes:
        issuer_id: The issuer that it belongs to.
        ca_key_id: SHA-1 of the public key bits, 40 lowercase hex digits.
        certificate / certificate_pem: The CA certificate.
        above: The rest of its chain upwards, the root last if it is known.
        chain_pem: What goes out with a leaf: issuing CA first, without a self-signed root unless
            the issuer is configured so; may be empty. After a rotation it ends with ``cross_pem``.
        cross_pem: This CA's key certified by the other generation, or "".
        root_pem: The self-signed certificate at the top (the CA itself for a root), or None.
        template: What all its certificates have in common, encoded.
        urls: What its certificates point at.
        may_sign_crls: keyUsage is absent or has cRLSign (02 CRL-8).
        may_sign_ocsp: keyUsage is absent or has digitalSignature (02 RSP-6).
        member_id: Its id in the tree of CAs (``ica-…``), or None.
        warnings: What the preflight found odd, as sentences.
        private_key: The signer's key, or None where it cannot be had; see ``key``.
    """

    issuer_id: str
    ca_key_id: str
    state: CAKeyState
    origin: CAOrigin
    signer: str
    key_ref: str | None
    certificate: x509.Certificate
    certificate_pem: str
    above: tuple[x509.Certificate, ...]
    chain_pem: str
    root_pem: str | None
    template: IssuerTemplate
    urls: AuthorityURLs
    may_sign_crls: bool
    may_sign_ocsp: bool
    first_seen_at: datetime
    warnings: tuple[str, ...] = ()
    cross_pem: str = ""
    member_id: str | None = None
    private_key: SigningKey | None = field(default=None, repr=False)

    @property
    def key(self) -> SigningKey:
        """The private key.

        Raises:
            CAKeyUnavailable: The signer could not give it, or the state forbids its use.
        """
        if self.private_key is None:
            place = self.key_ref or self.ca_key_id
            raise CAKeyUnavailable(path=place, reason="the private key is not at hand")
        return self.private_key

    @property
    def not_after(self) -> datetime:
        """When the CA certificate ends."""
        return self.certificate.not_valid_after_utc
