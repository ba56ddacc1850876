"""``Bundle``: leaf, chain and key of one version, checked, in the shapes that servers want."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import field
from datetime import datetime
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from certctl_core.contracts.targets.errors import (
    BundleChainInvalid,
    BundleExpired,
    BundleMalformed,
    BundleNamesMissing,
    PairMismatch,
)
from certctl_core.pki import serials
from certctl_core.pki.errors import KeyRejected, PKIError
from certctl_core.pki.keys import load_private_key_pem, spki_sha256
from certctl_core.pki.x509 import fingerprint_sha256, split_pem, to_pem
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What is deployed. Make it with ``Bundle.build``; the transaction checks it again.

    Attributes:
        leaf: The end-entity certificate, PEM with a final line feed.
        chain: The intermediates in order, issuing CA first, PEM, without a root; may be empty.
        key: The private key, PEM, unencrypted. Never shown.
        fingerprint: SHA-256 of the leaf's DER, 64 lowercase hex digits.
        spki: SHA-256 of its SubjectPublicKeyInfo, the same form.
        serial: Its canonical serial.
        not_after: Its end of validity, UTC.
        names: Its DNS names and IP addresses as text.
        chain_fingerprints: Of the intermediates, in the order of ``chain``.
        certificate_id: Id of the managed certificate.
        version_id: Id of the version.
    """

    leaf: str
    chain: str
    key: bytes = field(repr=False)
    fingerprint: str
    spki: str
    serial: str
    not_after: datetime
    names: tuple[str, ...]
    chain_fingerprints: tuple[str, ...]
    certificate_id: str
    version_id: str

    @property
    def fullchain(self) -> str:
        """Leaf, then intermediates."""
        return self.leaf + self.chain

    @property
    def combined(self) -> bytes:
        """Leaf, intermediates, key: one file, secret."""
        return self.fullchain.encode() + self.key

    @property
    def chain_file(self) -> bytes:
        """Key, leaf, intermediates: one file, secret, for servers that want the key first."""
        return self.key + self.fullchain.encode()

    @classmethod
    def build(
        cls,
        leaf_pem: str,
        chain_pem: str,
        key_pem: bytes | str,
        certificate_id: str,
        version_id: str,
        *,
        names: Iterable[str] = (),
    ) -> Self:
        """Make a bundle and check that its parts belong together.

        Args:
            leaf_pem: The certificate.
            chain_pem: Intermediates in order, issuing CA first; a root at the end is dropped.
                Empty for none.
            key_pem: PKCS#8, PKCS#1 or SEC 1, unencrypted.
            certificate_id: Id of the managed certificate.
            version_id: Id of the version.
            names: DNS names and IP addresses that must be among those of the certificate.

        Raises:
            BundleMalformed: A part cannot be read or is of an unsupported kind.
            PairMismatch: The key belongs to another certificate.
            BundleChainInvalid: A chain certificate did not sign the one before it.
            BundleNamesMissing: A name is not in the certificate.
        """
        leaf, *more = _certificates(leaf_pem)
        if more:
            raise BundleMalformed(reason="the leaf is more than one certificate")
        chain = _certificates(chain_pem) if chain_pem.strip() else []
        if chain and _is_root(chain[-1]):
            chain = chain[:-1]
        key = key_pem.encode() if isinstance(key_pem, str) else key_pem
        found = _names(leaf)
        bundle = cls(
            leaf=to_pem(leaf),
            chain="".join(to_pem(certificate) for certificate in chain),
            key=key.strip() + b"\n",
            fingerprint=fingerprint_sha256(leaf),
            spki=_spki(leaf),
            serial=serials.canonical(leaf.serial_number),
            not_after=leaf.not_valid_after_utc,
            names=found,
            chain_fingerprints=tuple(map(fingerprint_sha256, chain)),
            certificate_id=certificate_id,
            version_id=version_id,
        )
        missing = sorted({name.lower() for name in names} - set(found))
        if missing:
            raise BundleNamesMissing(names=", ".join(missing))
        bundle._check_parts(leaf, chain)
        return bundle

    def check(self, now: datetime) -> None:
        """Check everything again: pair, chain, expiry.

        Raises:
            BundleExpired: ``not_after`` is not in the future.
            BundleMalformed: As for ``build``, and ``PairMismatch``, ``BundleChainInvalid``.
        """
        (leaf,) = _certificates(self.leaf)
        chain = _certificates(self.chain) if self.chain else []
        if fingerprint_sha256(leaf) != self.fingerprint:
            raise BundleMalformed(reason="the fingerprint is not that of the certificate")
        self._check_parts(leaf, chain)
        if leaf.not_valid_after_utc <= now:
            raise BundleExpired(not_after=leaf.not_valid_after_utc.isoformat())

    def _check_parts(self, leaf: x509.Certificate, chain: list[x509.Certificate]) -> None:
        try:
            key = load_private_key_pem(self.key)
        except KeyRejected as error:
            raise BundleMalformed(reason=error.detail.rstrip(".")) from None
        if spki_sha256(key.public_key()) != _spki(leaf):
            raise PairMismatch
        path = [leaf, *chain]
        for position, (child, issuer) in enumerate(itertools.pairwise(path), start=1):
            try:
                child.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                raise BundleChainInvalid(position=position) from None


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        return split_pem(pem)
    except PKIError as error:
        raise BundleMalformed(reason=error.detail.rstrip(".")) from error


def _spki(certificate: x509.Certificate) -> str:
    try:
        return spki_sha256(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise BundleMalformed(reason="the public key is of an unknown kind") from None


def _is_root(certificate: x509.Certificate) -> bool:
    if certificate.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    dns = [name.lower() for name in san.get_values_for_type(x509.DNSName)]
    return (*dns, *map(str, san.get_values_for_type(x509.IPAddress)))
