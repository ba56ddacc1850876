"""The preflight of CA material (02 CA-4): nothing signs before it has passed.

Every failure is a class of its own that names the file (or another signer's key reference) and the
reason; what is odd but allowed comes back as a warning.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certctl_core.lifecycle.authorities.errors import (
    CACertificateMalformed,
    CAChainBroken,
    CAExpired,
    CAFileUnreadable,
    CAKeyMismatch,
    CAKeyUnsupported,
    CAKeyUsageForbidsSigning,
    CAMaterialError,
    CANotYetValid,
    NotACACertificate,
)
from certctl_core.pki import chain, keys
from certctl_core.pki.errors import ChainError
from certctl_core.pki.keys import PublicKey, SigningKey
from certctl_core.pki.lint import Severity
from certctl_core.pki.x509 import to_pem
from certctl_core.values import dataclass

MAX_CERTIFICATE_FILE_BYTES = 256 * 1024
"""A CA with a chain of ten ML-DSA-87 certificates stays below; nothing honest is larger."""

_PARSE_ERRORS = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension)


@dataclass(frozen=True, slots=True, kw_only=True)
class CACertificates:
    """A CA certificate and what stands above it.

    Attributes:
        certificate: The CA that signs.
        above: The rest of its chain, each issued by the next; the root last if it is known.
        warnings: What is odd and allowed, as sentences.
    """

    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ca_key_id(self) -> str:
        """The id of the CA key: 40 lowercase hex digits."""
        return keys.ca_key_id(self.certificate.public_key())

    @property
    def cert_pem(self) -> str:
        """The CA certificate as PEM."""
        return to_pem(self.certificate)

    @property
    def above_pem(self) -> str:
        """What stands above it, as PEM; empty for a root."""
        return "".join(map(to_pem, self.above))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsageFacts:
    """What the keyUsage extension of a CA lets its key do (RFC 5280 §4.2.1.3)."""

    is_present: bool
    may_sign_certificates: bool
    may_sign_crls: bool
    may_sign_ocsp: bool


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether subject and issuer are the same name."""
    return certificate.subject == certificate.issuer


def read_certificate_file(path: Path) -> CACertificates:
    """Read a PEM file: the CA first, its chain after it.

    Raises:
        CAFileUnreadable: Missing, not readable, empty or over 256 KiB.
        CACertificateMalformed: No certificate in it, or one that cannot be parsed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CERTIFICATE_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise CAFileUnreadable(path=str(path), reason=reason) from error
    if not data.strip():
        raise CAFileUnreadable(path=str(path), reason="the file is empty")
    if len(data) > MAX_CERTIFICATE_FILE_BYTES:
        reason = f"the file is larger than {MAX_CERTIFICATE_FILE_BYTES} bytes"
        raise CAFileUnreadable(path=str(path), reason=reason)
    return parse_certificates(data, path=str(path))


def parse_certificates(data: bytes, *, path: str) -> CACertificates:
    """Parse PEM certificates: the CA first, its chain after it.

    Raises:
        CACertificateMalformed: No certificate, or one that cannot be parsed.
    """
    try:
        first, *above = x509.load_pem_x509_certificates(data)
        for certificate in (first, *above):
            _ = certificate.extensions, certificate.public_key()
    except _PARSE_ERRORS as error:
        reason = "it holds no certificate that can be parsed"
        raise CACertificateMalformed(path=path, reason=reason) from error
    return CACertificates(certificate=first, above=tuple(above))


def key_usage(certificate: x509.Certificate) -> KeyUsageFacts:
    """Read the keyUsage extension; absent means that everything is allowed."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return KeyUsageFacts(
            is_present=False,
            may_sign_certificates=True,
            may_sign_crls=True,
            may_sign_ocsp=True,
        )
    return KeyUsageFacts(
        is_present=True,
        may_sign_certificates=usage.key_cert_sign,
        may_sign_crls=usage.crl_sign,
        may_sign_ocsp=usage.digital_signature,
    )


def check_certificates(
    certificates: CACertificates,
    *,
    public_key: PublicKey | None = None,
    cert_path: str,
    key_path: str = "",
    now: datetime,
) -> CACertificates:
    """Judge whether the CA may sign, and whether its chain holds link by link (02 CA-4).

    Args:
        certificates: As read.
        public_key: The public half of the key at hand, or None to leave the key out.
        cert_path: Named in errors about the certificate.
        key_path: Named in errors about the key.
        now: The current time.

    Returns:
        The same with its warnings filled in.

    Raises:
        CAMaterialError: The leaf of the first finding of severity ``error``.
    """
    warnings = []
    for finding in chain.check_ca(certificates.certificate, public_key, now):
        if finding.severity is not Severity.ERROR:
            warnings.append(finding.text)
            continue
        path = key_path if finding.code == "key_mismatch" else cert_path
        raise _FAULTS[finding.code](path=path, reason=finding.text.rstrip("."))
    _check_links(certificates, path=cert_path, now=now)
    return replace(certificates, warnings=tuple(warnings))


def check_key_pair(certificate: x509.Certificate, key: SigningKey, *, path: str) -> None:
    """Refuse a key that belongs to another certificate.

    Raises:
        CAKeyMismatch: The public keys differ.
    """
    if keys.spki_der(key.public_key()) != keys.spki_der(certificate.public_key()):
        raise CAKeyMismatch(path=path, reason="The key does not belong to the certificate")


def verify_upwards(certificates: CACertificates, *, path: str, now: datetime) -> None:
    """Validate the whole path of a CA to its root (02 HIER-7, RFC 5280 §6.1).

    Raises:
        CAChainBroken: It does not hold; the reason names the certificate.
    """
    *between, root = certificates.certificate, *certificates.above
    try:
        chain.verify_path(certificates.certificate, between[1:], [root], now)
    except ChainError as error:
        reason = f"{error.data['subject']}: {error.data['reason']}"
        raise CAChainBroken(path=path, reason=reason) from error


_FAULTS: dict[str, type[CAMaterialError]] = {
    "unreadable": CACertificateMalformed,
    "unknown_critical_extension": CACertificateMalformed,
    "not_a_ca": NotACACertificate,
    "no_cert_sign": CAKeyUsageForbidsSigning,
    "not_yet_valid": CANotYetValid,
    "expired": CAExpired,
    "key_mismatch": CAKeyMismatch,
    "key_rejected": CAKeyUnsupported,
    "bad_self_signature": CAChainBroken,
}
"""What each error of ``pki.chain.check_ca`` is called here."""


def _check_links(certificates: CACertificates, *, path: str, now: datetime) -> None:
    links = itertools.pairwise((certificates.certificate, *certificates.above))
    for position, (lower, upper) in enumerate(links, start=2):
        where = f"Certificate {position} of the file"
        try:
            chain.verify_issued(lower, upper)
        except ChainError as error:
            reason = f"{where} is not the issuer of the one before: {error.data['reason']}"
            raise CAChainBroken(path=path, reason=reason) from error
        if not upper.not_valid_before_utc <= now <= upper.not_valid_after_utc:
            raise CAChainBroken(path=path, reason=f"{where} is outside its validity")
