"""What comes back into a restored database, and what a stolen CA key sets in motion.

Everything here runs inside one unit of work.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    AuthorityService,
    CAKeyState,
    LedgerKind,
)
from certctl_core.lifecycle.certificates import CertificateService
from certctl_core.lifecycle.recovery import exported
from certctl_core.lifecycle.recovery.errors import (
    CertificatesForeign,
    CertificatesUnreadable,
    CRLForeign,
    CRLUnreadable,
)
from certctl_core.lifecycle.recovery.events import RecoveryImported, RenewalsPlanned
from certctl_core.lifecycle.recovery.exported import AheadCRL
from certctl_core.lifecycle.recovery.schemas import (
    ImportedCertificatesView,
    ImportedCRLView,
    RenewalsPlannedView,
    RetiredCAView,
)
from certctl_core.lifecycle.revocation import RevocationRestorer
from certctl_core.pki.chain import verify_issued
from certctl_core.pki.crl import CRLInfo, inspect_crl, iter_entries, verify_crl
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import describe

_SEQUENCE = b"\x30"
_PEM_HEAD = b"-----BEGIN X509 CRL-----"
_PEM_TAIL = b"-----END X509 CRL-----"


class RecoveryService:
    """Brings back what is missing; never takes anything away."""

    def __init__(
        self,
        *,
        authorities: AuthorityService,
        certificates: CertificateService,
        restorer: RevocationRestorer,
    ) -> None:
        self._authorities = authorities
        self._certificates = certificates
        self._restorer = restorer

    def import_crl(self, uow: Uow, data: bytes) -> ImportedCRLView:
        """Add every revocation of a CRL that the database lacks (02 DR-25).

        The next CRL of the key gets a higher number than this one. Emits ``dr.imported``, and
        ``certificate.revoked`` for managed certificates.

        Args:
            uow: The open unit of work.
            data: The CRL: DER, PEM, or base64 of DER.

        Raises:
            CRLUnreadable: It cannot be read, or is a delta.
            CRLForeign: No CA key that is known here signed it.
        """
        der = _crl_der(data)
        key, info = self._signer_of(der)
        entries = list(iter_entries(der))
        restored = self._restorer.restore(
            uow,
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            entries=entries,
            number=info.number,
            until=key.not_after,
        )
        self._report(uow, key, "crl", restored.added, len(entries), number=info.number)
        return ImportedCRLView(
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            crl_number=info.number,
            entries=len(entries),
            added=restored.added,
            certificates_revoked=restored.certificates,
        )

    def copies_ahead(self, uow: Uow, folder: Path | None) -> list[AheadCRL]:
        """Copies of lists with a higher number than the database remembers (02 DR-25)."""
        return list(exported.copies_ahead(folder, self._restorer.last_numbers(uow)))

    def warn_of_copies(self, uow: Uow, folder: Path | None) -> None:
        """At start, before a list is made: keep such copies and log how they come back."""
        exported.warn(folder, self._restorer.last_numbers(uow))

    def import_certificates(self, uow: Uow, pem: bytes) -> ImportedCertificatesView:
        """Add certificates of ours to the ledger, so that OCSP knows them (02 DR-26).

        Raises:
            CertificatesUnreadable: There is none, or one cannot be parsed.
            CertificatesForeign: Not one of them is ours.
        """
        keys: dict[tuple[str, str], AuthorityKey] = {}
        added: Counter[tuple[str, str]] = Counter()
        known: Counter[tuple[str, str]] = Counter()
        foreign = []
        for certificate in _certificates(pem):
            key = self._issuer_of(certificate)
            if key is None:
                foreign.append(certificate.subject.rfc4514_string())
            else:
                place = (key.issuer_id, key.ca_key_id)
                keys[place] = key
                counted = added if self._add(uow, key, certificate) else known
                counted[place] += 1
        if not keys:
            raise CertificatesForeign(subject=foreign[0])
        for place, key in keys.items():
            self._report(uow, key, "certificates", added[place], added[place] + known[place])
        uow.wake("pki")
        return ImportedCertificatesView(added=added.total(), known=known.total(), foreign=foreign)

    def plan_renewals(self, uow: Uow, issuer_id: str, ca_key_id: str) -> RenewalsPlannedView:
        """Make every certificate of a CA key due for renewal now (02 ROT-6).

        The scheduler starts them as it starts every renewal: at its pace, by whoever holds the
        key. What is not renewed from here stays as it is and is only counted.

        Raises:
            UnknownAuthority: The issuer has no such key.
        """
        key = self._authorities.authority_key(ca_key_id.lower(), issuer_id)
        affected, planned = self._certificates.make_due(uow, issuer_id, key.ca_key_id)
        uow.emit(
            RenewalsPlanned(
                resource_id=key.ca_key_id, issuer_id=issuer_id, affected=affected, planned=planned
            )
        )
        return RenewalsPlannedView(
            issuer_id=issuer_id, ca_key_id=key.ca_key_id, affected=affected, planned=planned
        )

    def retire(self, uow: Uow, issuer_id: str, ca_key_id: str) -> RetiredCAView:
        """Take a former CA key out of service that has nothing left to answer for.

        Raises:
            UnknownAuthority, CAKeyStateWrong, CAKeyStillNeeded: See ``Rotation.retire``.
        """
        self._authorities.rotation.retire(uow, issuer_id, ca_key_id)
        return RetiredCAView(
            issuer_id=issuer_id, ca_key_id=ca_key_id.lower(), state=CAKeyState.RETIRED
        )

    def _signer_of(self, der: bytes) -> tuple[AuthorityKey, CRLInfo]:
        try:
            info = inspect_crl(der)
        except PKIError as error:
            raise CRLUnreadable(reason=error.detail.rstrip(".")) from error
        if info.base_number is not None:
            raise CRLUnreadable(reason="it is a delta CRL")
        for key in self._authorities.authority_keys():
            try:
                return key, verify_crl(der, key.certificate)
            except PKIError:
                continue
        raise CRLForeign(issuer_dn=info.issuer_dn, number=info.number)

    def _issuer_of(self, certificate: x509.Certificate) -> AuthorityKey | None:
        for key in self._authorities.authority_keys():
            try:
                verify_issued(certificate, key.certificate)
            except PKIError:
                continue
            return key
        return None

    def _add(self, uow: Uow, key: AuthorityKey, certificate: x509.Certificate) -> bool:
        info = describe(certificate)
        if self._authorities.is_issued(uow, key.issuer_id, key.ca_key_id, info.serial):
            return False
        self._authorities.record_issued(
            uow,
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            serial=info.serial,
            kind=_kind(certificate),
            subject=info.subject,
            not_before=info.not_before,
            not_after=info.not_after,
            fingerprint_sha256=info.fingerprint_sha256,
        )
        return True

    @staticmethod
    def _report(
        uow: Uow, key: AuthorityKey, what: str, added: int, total: int, *, number: int = 0
    ) -> None:
        uow.emit(
            RecoveryImported(
                resource_id=key.ca_key_id,
                issuer_id=key.issuer_id,
                what=what,
                crl_number=number,
                added=added,
                known=total - added,
            )
        )


def _crl_der(data: bytes) -> bytes:
    """DER of a CRL in any of its spellings; PEM may be wrapped in base64 once more.

    Raises:
        CRLUnreadable: It is none of them.
    """
    for _ in range(2):
        if data.startswith(_SEQUENCE):
            return data
        start, end = data.find(_PEM_HEAD), data.find(_PEM_TAIL)
        text = data[start + len(_PEM_HEAD) : end] if 0 <= start < end else data
        try:
            data = base64.b64decode(b"".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise CRLUnreadable(reason="it is neither DER nor PEM nor base64") from error
    return data


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
        for certificate in found:
            _ = certificate.extensions, certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificatesUnreadable from error
    return found


def _kind(certificate: x509.Certificate) -> LedgerKind:
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return LedgerKind.SUB_CA
    except x509.ExtensionNotFound:
        pass
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return LedgerKind.LEAF
    only_ocsp = list(uses) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    return LedgerKind.OCSP_RESPONDER if only_ocsp else LedgerKind.LEAF
