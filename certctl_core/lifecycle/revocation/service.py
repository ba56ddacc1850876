"""Revoking: one transaction that every relying party sees at once (02 REV-1 … REV-3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import FieldError, Invalid, NotFound
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.jobs import JobService, NewJob
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.blocked_keys import BlockedKeyService
from certctl_core.lifecycle.certificates import (
    CertificateService,
    CertificateView,
    Matching,
    NoVersionYet,
    Status,
    VersionView,
    count_by_status,
    next_ids,
)
from certctl_core.lifecycle.issuers import IssuerService
from certctl_core.lifecycle.profiles import ProfileService
from certctl_core.lifecycle.revocation._tables import certificate_revocations as t
from certctl_core.lifecycle.revocation.errors import (
    AlreadyRevoked,
    BadRevocationReason,
    HeldKeyBlocked,
    NotOnHold,
    NotRevocable,
)
from certctl_core.lifecycle.revocation.events import CertificateRevoked, CertificateUnheld
from certctl_core.lifecycle.revocation.holds import held_versions, make_final, take_holds
from certctl_core.lifecycle.revocation.responses import ResponseCache
from certctl_core.lifecycle.revocation.schemas import RevocationView, SameKeyView, UnholdView
from certctl_core.lifecycle.revocation.types import Scope
from certctl_core.pki.crl import encode_entry
from certctl_core.pki.errors import PKIError
from certctl_core.pki.reasons import CRLReason, parse_reason
from certctl_core.pki.serials import canonical

NOTICE_JOB = "RevocationNotice"
_NOTICE_ATTEMPTS = 20


class RevocationService:
    """Revokes and releases; CRL and OCSP follow from the rows."""

    def __init__(
        self,
        *,
        certificates: CertificateService,
        profiles: ProfileService,
        issuers: IssuerService,
        jobs: JobService,
        responses: ResponseCache,
        blocked_keys: BlockedKeyService,
    ) -> None:
        self._blocked_keys = blocked_keys
        self._certificates = certificates
        self._profiles = profiles
        self._issuers = issuers
        self._jobs = jobs
        self._responses = responses
        self.on_invalidated: Callable[[int], None] = lambda _answers: None

    def revoke(
        self,
        uow: Uow,
        *,
        certificate_id: str,
        reason: str = "unspecified",
        scope: Scope | None = None,
        serial: str | None = None,
        spki_sha256: str | None = None,
        invalidity_date: datetime | None = None,
        scopes: Sequence[Resource] | None = None,
    ) -> RevocationView:
        """Revoke versions of a certificate (RFC 5280 §5.3.1).

        Writes one revocation row a version with its encoded CRL entry, moves the certificate to
        Revoked, queues the notice to a foreign issuer, emits ``certificate.revoked``; after
        keyCompromise the key is blocked (02 PROF-3). Every process drops what it keeps in memory
        about the CA. What is on hold gets the final reason; its revocation date stays.

        Args:
            uow: The open unit of work.
            certificate_id: Which certificate.
            reason: RFC 5280 spelling; ``caCompromise`` and snake_case are understood.
            scope: The current version, or all that are valid; for ``keyCompromise`` the default
                is every valid version with a current one's key.
            serial: Only the version with this serial, in any spelling. An old one leaves the
                certificate as it is.
            spki_sha256: Every valid version of this public key, in use or not, also of an
                archived certificate.
            invalidity_date: Goes into the CRL entry.
            scopes: What the actor may revoke; limits the certificates that the answer names.

        Raises:
            CertificateNotFound, VersionNotFound: As named.
            BadRevocationReason: Not one of the eight.
            AlreadyRevoked: Everything that would be covered is revoked for good, or is on hold
                and would be again.
            NotRevocable: Never issued, or archived.
        """
        cause = _reason(reason)
        self._certificates.lock(uow, certificate_id)
        view = self._certificates.get(uow, certificate_id)
        held = held_versions(uow, certificate_id)
        may_end = frozenset[str]() if cause is CRLReason.CERTIFICATE_HOLD else held
        versions = self._covered(uow, view, cause, scope, serial, key=spki_sha256, held=may_end)
        fresh = [item for item in versions if item.id not in held]
        ending = [item for item in versions if item.id in held]
        profile = self._profiles.resolve(uow, view.certificate_profile_id)
        added = [
            self._add_row(
                uow, view, item, cause, invalidity_date, on_crl=not profile.is_short_lived
            )
            for item in fresh
        ]
        self._certificates.mark_revoked(
            uow, certificate_id, [item.id for item in fresh], reason=cause.value
        )
        for item in ending:
            told = self._is_told(item.issuer_id)
            make_final(uow, certificate_id, item.id, cause, invalidity_date, is_told=told)
        if ending:
            left = held - {item.id for item in ending}
            self._certificates.end_hold(uow, certificate_id, reason=cause.value, still_held=left)
        same_key: list[SameKeyView] = []
        if cause is CRLReason.KEY_COMPROMISE:
            for digest in sorted({item.spki_sha256 for item in versions}):
                self._blocked_keys.block_compromised(uow, digest, certificate_id=certificate_id)
                if spki_sha256 is None:  # who revokes by key gets to the others anyway
                    same_key += _same_key(uow, digest, scopes)
        self._invalidate(uow, [(item.issuer_id, item.serial_number) for item in versions])
        if (any(added) or ending) and not all(self._is_told(item.issuer_id) for item in versions):
            self._enqueue_notice(uow, view)
        uow.emit(
            CertificateRevoked(
                resource_id=certificate_id,
                common_name=view.common_name,
                issuer_id=view.issuer_id,
                serials=tuple(item.serial_number for item in versions),
                reason=cause.value,
            )
        )
        uow.wake("pki")
        return RevocationView(
            status="revoked",
            certificate_id=certificate_id,
            serials=[item.serial_number for item in versions],
            reason=cause.value,
            revoked_at=max(item.revoked_at or uow.now for item in versions),
            same_key=same_key,
        )

    @staticmethod
    def reason(text: str) -> CRLReason:
        """The reason that a text means, in any spelling.

        Raises:
            BadRevocationReason: Not one of the eight.
        """
        return _reason(text)

    def unhold(self, uow: Uow, certificate_id: str) -> UnholdView:
        """Release a certificateHold; emits ``certificate.unheld``.

        Raises:
            CertificateNotFound: No such id.
            NotOnHold: Not revoked, or for another reason.
            HeldKeyBlocked: Its key is blocked, by a key compromise elsewhere or by hand.
        """
        self._certificates.lock(uow, certificate_id)
        view = self._certificates.get(uow, certificate_id)
        if view.status is Status.REVOKED and (view.revocation_reason != CRLReason.CERTIFICATE_HOLD):
            raise NotOnHold(certificate_id=certificate_id)
        held = take_holds(uow, certificate_id)
        if not held:
            raise NotOnHold(certificate_id=certificate_id)
        for version_id in {row.version_id for row in held} - {None}:
            version = self._certificates.version(uow, certificate_id, version_id)
            if self._blocked_keys.is_blocked(uow, version.spki_sha256):
                raise HeldKeyBlocked(certificate_id=certificate_id)
        serials = [row.serial_number for row in held]
        self._invalidate(uow, [(row.issuer_id, row.serial_number) for row in held])
        self._certificates.release_hold(
            uow, certificate_id, [row.version_id for row in held if row.version_id is not None]
        )
        uow.emit(CertificateUnheld(resource_id=certificate_id, serials=tuple(serials)))
        uow.wake("pki")
        return UnholdView(status="unheld", certificate_id=certificate_id, serials=serials)

    def _invalidate(self, uow: Uow, places: list[tuple[str, str]]) -> None:
        """Take the stored OCSP answers about these (issuer, serial) away (02 REV-2)."""
        gone = 0
        for issuer_id in {issuer_id for issuer_id, _ in places}:
            serials = [serial for owner, serial in places if owner == issuer_id]
            gone += self._responses.invalidate(uow, issuer_id, serials)
        if gone:
            uow.after_commit(lambda: self.on_invalidated(gone))

    def unnotified(self, uow: Uow, certificate_id: str) -> list[tuple[str, CRLReason]]:
        """(version id, reason) of revocations that the foreign issuer has not taken yet."""
        rows = uow.execute(
            sa.select(t.c.version_id, t.c.reason)
            .where(
                t.c.certificate_id == certificate_id,
                t.c.issuer_notified.is_(False),
                t.c.version_id.is_not(None),
            )
            .order_by(t.c.seq)
        )
        return [(row.version_id, CRLReason(row.reason)) for row in rows]

    def count_unnotified(self, uow: Uow) -> int:
        """How many revocations a foreign issuer has not taken yet (02 REV-3, OPS-2)."""
        untold = sa.select(sa.func.count()).where(~t.c.issuer_notified)
        return int(uow.scalar(untold) or 0)

    def mark_notified(self, uow: Uow, certificate_id: str, serial: str, reason: CRLReason) -> None:
        """The foreign issuer has taken the revocation of this serial for this reason."""
        uow.execute(
            sa.update(t)
            .where(
                t.c.certificate_id == certificate_id,
                t.c.serial_number == serial,
                t.c.reason == reason.value,
            )
            .values(issuer_notified=True)
        )

    def _covered(
        self,
        uow: Uow,
        view: CertificateView,
        cause: CRLReason,
        scope: Scope | None,
        serial: str | None,
        *,
        key: str | None,
        held: frozenset[str],
    ) -> list[VersionView]:
        if view.status is Status.ARCHIVED and key is None:
            raise NotRevocable(certificate_id=view.id, status=view.status.value)
        compromised = scope is None and cause is CRLReason.KEY_COMPROMISE
        try:
            found = self._certificates.versions_to_revoke(
                uow,
                view.id,
                serial=_serial(serial),
                all_unexpired=compromised or scope is Scope.ALL_UNEXPIRED,
                same_key=compromised,
                spki_sha256=key,
            )
        except NoVersionYet as error:
            raise NotRevocable(certificate_id=view.id, status="not issued yet") from error
        versions = [item for item in found if item.revoked_at is None or item.id in held]
        if not versions:
            raise AlreadyRevoked(certificate_id=view.id)
        return versions

    def _add_row(
        self,
        uow: Uow,
        view: CertificateView,
        version: VersionView,
        cause: CRLReason,
        invalidity_date: datetime | None,
        *,
        on_crl: bool,
    ) -> bool:
        entry = encode_entry(version.serial_number, uow.now, cause, invalidity_date)
        row = uow.first(
            uow.insert(t)
            .values(
                id=uow.new_id(Prefix.REVOCATION),
                certificate_id=view.id,
                version_id=version.id,
                serial_number=version.serial_number,
                reason=cause.value,
                reason_code=cause.code,
                invalidity_date=invalidity_date,
                revoked_by=uow.actor.id,
                revoked_at=uow.now,
                issuer_id=version.issuer_id,
                ca_key_id=version.ca_key_id or "",
                issuer_notified=self._is_told(version.issuer_id),
                not_after=version.not_after,
                on_crl=on_crl,
                entry_der=entry,
                created_at=uow.now,
            )
            .on_conflict_do_nothing()
            .returning(t.c.seq)
        )
        return row is not None

    def _is_told(self, issuer_id: str) -> bool:
        """Whether nobody has to be told: the CA is ours, or its issuer is gone."""
        try:
            return self._issuers.is_local(issuer_id)
        except NotFound:
            return True

    def _enqueue_notice(self, uow: Uow, view: CertificateView) -> None:
        self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type=NOTICE_JOB,
                subject_type="certificate",
                subject_id=view.id,
                certificate_id=view.id,
                max_attempts=_NOTICE_ATTEMPTS,
                scope=Resource(profile_id=view.certificate_profile_id, issuer_id=view.issuer_id),
            ),
        )


def _same_key(uow: Uow, digest: str, scopes: Sequence[Resource] | None) -> list[SameKeyView]:
    """What is still valid with a key; empty when nothing is."""
    total = sum(count_by_status(uow, Matching(spki_sha256=digest)).values())
    if not total:
        return []
    mine = Matching(spki_sha256=digest, scopes=None if scopes is None else tuple(scopes))
    ids = next_ids(uow, mine, after="", limit=total)
    return [SameKeyView(spki_sha256=digest, total=total, certificate_ids=ids)]


def _reason(text: str) -> CRLReason:
    try:
        return parse_reason(text or "unspecified")
    except PKIError as error:
        known = ", ".join(reason.value for reason in CRLReason)
        raise BadRevocationReason(reason=text, known=known) from error


def _serial(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return canonical(text)
    except PKIError as error:
        message = "must be a serial number in hex"
        raise Invalid(fields=[FieldError(field="serial", message=message)]) from error
