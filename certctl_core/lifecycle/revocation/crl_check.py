"""What the published CRL says of one certificate, read as a relying party reads it (02 OPS-4)."""

from __future__ import annotations

from itertools import pairwise

import sqlalchemy as sa
from cryptography import x509

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    AuthorityService,
    CAKeyState,
    UnknownAuthority,
)
from certctl_core.lifecycle.certificates import CertificateService, NoVersionYet, VersionView
from certctl_core.lifecycle.revocation._tables import certificate_revocations
from certctl_core.lifecycle.revocation.crl import CRLService
from certctl_core.lifecycle.revocation.errors import (
    CANotTrusted,
    CRLNotPublished,
    CRLUnavailable,
    NoPublishing,
    PKIIssuerNotFound,
)
from certctl_core.lifecycle.revocation.schemas import CRLCheckView, DeltaCheckView
from certctl_core.lifecycle.revocation.types import COMPLETE, DELTA, Partition, StoredCRL
from certctl_core.pki.crl import CRLEntry, find_entry, inspect_crl, verify_crl
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import ca_key_id
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import describe, split_pem

_LATE = "The certificate is revoked, but the list that is published does not have it."
_STOLEN = "The key of the CA {subject} is compromised: trust no certificate and no list of it."
_CA_REVOKED = "The certificate of the CA {subject} is revoked ({reason}): trust nothing below it."
_NO_DELTA = "The list names a delta that is not published."


class CRLChecker:
    """Looks a certificate up on the list that it points at."""

    def __init__(
        self,
        *,
        authorities: AuthorityService,
        certificates: CertificateService,
        crls: CRLService,
    ) -> None:
        self._authorities = authorities
        self._certificates = certificates
        self._crls = crls

    def check(self, uow: Uow, certificate_id: str) -> CRLCheckView:
        """Look for the current version on its list, which is made now if it is not in force.

        The list is the partition that the certificate names, else the complete list of its CA
        key, together with the delta that this names.

        Raises:
            CertificateNotFound, NoVersionYet: As named.
            NoPublishing: The issuer publishes its lists itself.
            CRLNotPublished: The certificate names a list that is not there.
            CANotTrusted: There is no list because the CA itself is compromised or revoked.
            CRLSigningForbidden, CRLUnavailable: As of ``CRLService.current``.
        """
        view = self._certificates.get(uow, certificate_id)
        if view.current_version_id is None:
            raise NoVersionYet(certificate_id=certificate_id)
        version = self._certificates.version(uow, certificate_id, view.current_version_id)
        key = self._key(version)
        urls = describe(split_pem(version.pem_chain)[0]).crl_urls
        part, url = _named(key, urls)
        is_revoked = _is_revoked(uow, version)
        untrusted = self._untrusted(uow, key)
        try:
            crl = self._current(key, part)
        except CRLUnavailable as error:
            if untrusted is None:
                raise
            raise CANotTrusted(problem=untrusted) from error
        info, serial = inspect_crl(crl.der), version.serial_number
        entry, fault = find_entry(crl.der, serial), _fault(crl, key)
        delta = self._delta(key, serial) if info.names_delta else None
        problem = untrusted or fault
        if problem is None and info.names_delta and delta is None:
            problem = _NO_DELTA
        # An expired certificate leaves the list (RFC 5280 §3.3).
        if problem is None and is_revoked and entry is None and version.not_after > uow.now:
            problem = _LATE
        return CRLCheckView(
            certificate_id=certificate_id,
            serial_number=serial,
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            url=url or (urls[0] if urls else None),
            part=part,
            crl_number=info.number,
            this_update=info.this_update,
            next_update=info.next_update,
            entries=crl.revoked_count,
            is_listed=entry is not None,
            reason=entry.reason.value if entry else None,
            revoked_at=entry.revoked_at if entry else None,
            invalidity_date=entry.invalidity_date if entry else None,
            delta=delta,
            is_verified=fault is None,
            problem=problem,
        )

    def _key(self, version: VersionView) -> AuthorityKey:
        try:
            return self._authorities.authority_key(version.ca_key_id or "", version.issuer_id)
        except UnknownAuthority as error:
            raise NoPublishing(issuer_id=version.issuer_id) from error

    def _untrusted(self, uow: Uow, key: AuthorityKey) -> str | None:
        """Why nothing that the CA has signed can be trusted, a list of it included; or None."""
        path = (key.certificate, *key.above)
        for ca in path:
            try:
                known = self._authorities.authority_key(ca_key_id(ca.public_key()))
            except UnknownAuthority:
                continue
            if known.state is CAKeyState.COMPROMISED:
                return _STOLEN.format(subject=ca.subject.rfc4514_string())
        for ca, parent in pairwise(path):
            reason = _reason_of(uow, ca, ca_key_id(parent.public_key()))
            if reason is not None:
                return _CA_REVOKED.format(subject=ca.subject.rfc4514_string(), reason=reason)
        return None

    def _current(self, key: AuthorityKey, part: str) -> StoredCRL:
        try:
            return self._crls.current(key, part, trust_memory=False)
        except PKIIssuerNotFound as error:
            raise CRLNotPublished(part=part) from error

    def _delta(self, key: AuthorityKey, serial: str) -> DeltaCheckView | None:
        try:
            crl = self._current(key, DELTA)
        except CRLNotPublished:
            return None
        info, entry = inspect_crl(crl.der), find_entry(crl.der, serial)
        problem = _fault(crl, key)
        return DeltaCheckView(
            crl_number=info.number,
            base_number=info.base_number or 0,
            this_update=info.this_update,
            next_update=info.next_update,
            entries=crl.revoked_count,
            says=_says(entry),
            is_verified=problem is None,
            problem=problem,
        )


def _named(key: AuthorityKey, urls: tuple[str, ...]) -> tuple[str, str | None]:
    """Which part of the CA key's revocation data a certificate points at, and by which URL."""
    mark = f"/crl/{key.issuer_id}/{key.ca_key_id}"
    for url in urls:
        _, found, rest = url.rpartition(mark)
        if found and not rest:
            return COMPLETE, url
        if found and Partition.parse(rest.removeprefix("/")) is not None:
            return rest.removeprefix("/"), url
    return COMPLETE, None


def _is_revoked(uow: Uow, version: VersionView) -> bool:
    r = certificate_revocations.c
    found = uow.scalar(
        sa.select(r.seq).where(
            r.issuer_id == version.issuer_id,
            r.ca_key_id == version.ca_key_id,
            r.serial_number == version.serial_number,
            r.on_crl,
        )
    )
    return found is not None


def _reason_of(uow: Uow, ca: x509.Certificate, signer: str) -> str | None:
    """Why the certificate of a CA is revoked; None when it is not."""
    r = certificate_revocations.c
    found: str | None = uow.scalar(
        sa.select(r.reason).where(
            r.ca_key_id == signer, r.serial_number == canonical(ca.serial_number)
        )
    )
    return found


def _fault(crl: StoredCRL, key: AuthorityKey) -> str | None:
    try:
        verify_crl(crl.der, key.certificate)
    except PKIError as error:
        return str(error)
    return None


def _says(entry: CRLEntry | None) -> str | None:
    if entry is None:
        return None
    return "removed" if entry.is_removal else "revoked"
