"""Revocations that a restored database lacks, brought back from a CRL (02 DR-25)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.kernel.ids import Prefix
from certctl_core.lifecycle.certificates import CertificateService, KnownVersion, Status
from certctl_core.lifecycle.revocation._tables import certificate_revocations as t
from certctl_core.lifecycle.revocation._tables import crl_cache, crl_numbers
from certctl_core.lifecycle.revocation.events import CertificateRevoked
from certctl_core.lifecycle.revocation.holds import held_versions, restore_final
from certctl_core.pki.crl import CRLEntry, encode_entry
from certctl_core.pki.reasons import CRLReason
from certctl_core.values import dataclass

_BATCH = 500
"""SQLite takes 999 parameters in a statement where it is old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back.

    Attributes:
        added: Revocations, and final reasons of what was on hold.
        certificates: Managed certificates that are Revoked by them.
    """

    added: int
    certificates: int


class RevocationRestorer:
    """Adds revocations as they stand on a CRL; takes none away."""

    def __init__(self, *, certificates: CertificateService) -> None:
        self._certificates = certificates

    @staticmethod
    def last_numbers(uow: Uow) -> dict[tuple[str, str], int]:
        """(issuer id, CA key id) → the highest cRLNumber that the database remembers."""
        n = crl_numbers.c
        rows = uow.execute(
            sa.select(n.issuer_id, n.ca_key_id, sa.func.max(n.last_number).label("last")).group_by(
                n.issuer_id, n.ca_key_id
            )
        )
        return {(row.issuer_id, row.ca_key_id): int(row.last) for row in rows}

    def restore(
        self,
        uow: Uow,
        *,
        issuer_id: str,
        ca_key_id: str,
        entries: Sequence[CRLEntry],
        number: int,
        until: datetime,
    ) -> Restored:
        """Add what is missing of the entries of one CRL.

        Args:
            uow: The open unit of work.
            issuer_id: Whose CA key.
            ca_key_id: The key that signed the CRL.
            entries: Of the CRL.
            number: Its cRLNumber: the next one that is made here is higher (02 CRL-2).
            until: How long an entry stays whose certificate is not known here.
        """
        place_of: dict[str, object] = {"issuer_id": issuer_id, "ca_key_id": ca_key_id}
        known = set(
            uow.execute(
                sa.select(t.c.serial_number).where(
                    t.c.issuer_id == issuer_id, t.c.ca_key_id == ca_key_id
                )
            ).scalars()
        )
        missing = [entry for entry in entries if entry.serial not in known]
        revoked = 0
        for batch in _batches(missing):
            serials = [entry.serial for entry in batch]
            versions = self._certificates.versions_by_serial(uow, issuer_id, ca_key_id, serials)
            uow.execute(
                sa.insert(t),
                [place_of | _row(uow, entry, versions.get(entry.serial), until) for entry in batch],
            )
            revoked += sum(
                self._mark(uow, issuer_id, entry, versions[entry.serial])
                for entry in batch
                if entry.serial in versions
            )
        ended = self._end_holds(uow, issuer_id, ca_key_id, entries)
        self._raise_number(uow, issuer_id, ca_key_id, number)
        uow.wake("pki")
        return Restored(added=len(missing) + ended, certificates=revoked)

    def _mark(self, uow: Uow, issuer_id: str, entry: CRLEntry, version: KnownVersion) -> bool:
        """Revoke the managed certificate, too; whether it is Revoked now and was not before."""
        self._certificates.lock(uow, version.certificate_id)
        before = self._certificates.get(uow, version.certificate_id)
        if before.status is Status.ARCHIVED:
            return False  # nobody uses it any more; CRL and OCSP know all the same
        after = self._certificates.mark_revoked(
            uow, version.certificate_id, [version.id], reason=entry.reason.value
        )
        uow.emit(
            CertificateRevoked(
                resource_id=version.certificate_id,
                common_name=before.common_name,
                issuer_id=issuer_id,
                serials=(entry.serial,),
                reason=entry.reason.value,
            )
        )
        return after.status != before.status

    def _end_holds(
        self, uow: Uow, issuer_id: str, ca_key_id: str, entries: Sequence[CRLEntry]
    ) -> int:
        """Make final what is on hold here and for good on the CRL; returns how many."""
        held = set(
            uow.execute(
                sa.select(t.c.serial_number).where(
                    t.c.issuer_id == issuer_id,
                    t.c.ca_key_id == ca_key_id,
                    t.c.reason == CRLReason.CERTIFICATE_HOLD,
                )
            ).scalars()
        )
        ended = 0
        for entry in entries:
            if entry.serial not in held or entry.reason is CRLReason.CERTIFICATE_HOLD:
                continue
            certificate_id = restore_final(uow, issuer_id, ca_key_id, entry)
            ended += certificate_id is not None
            if certificate_id:
                self._certificates.end_hold(
                    uow,
                    certificate_id,
                    reason=entry.reason.value,
                    still_held=held_versions(uow, certificate_id),
                )
        return ended

    @staticmethod
    def _raise_number(uow: Uow, issuer_id: str, ca_key_id: str, number: int) -> None:
        n = crl_numbers.c
        uow.execute(
            uow.insert(crl_numbers)
            .values(issuer_id=issuer_id, ca_key_id=ca_key_id, last_number=0)
            .on_conflict_do_nothing()
        )
        uow.execute(
            sa.update(crl_numbers)
            .where(n.issuer_id == issuer_id, n.ca_key_id == ca_key_id, n.last_number < number)
            .values(last_number=number)
        )
        # A cached list may be older than what came back, and carry a lower number.
        c = crl_cache.c
        uow.execute(
            sa.delete(crl_cache).where(
                c.issuer_id == issuer_id, c.ca_key_id == ca_key_id, c.crl_number <= number
            )
        )


def _batches(entries: Sequence[CRLEntry]) -> Iterator[Sequence[CRLEntry]]:
    for start in range(0, len(entries), _BATCH):
        yield entries[start : start + _BATCH]


def _row(
    uow: Uow,
    entry: CRLEntry,
    version: KnownVersion | None,
    until: datetime,
) -> dict[str, object]:
    reason: CRLReason = entry.reason
    return {
        "id": uow.new_id(Prefix.REVOCATION),
        "certificate_id": None if version is None else version.certificate_id,
        "version_id": None if version is None else version.id,
        "serial_number": entry.serial,
        "reason": reason.value,
        "reason_code": reason.code,
        "invalidity_date": entry.invalidity_date,
        "revoked_by": uow.actor.id,
        "revoked_at": entry.revoked_at,
        "issuer_notified": True,
        "not_after": until if version is None else version.not_after,
        "on_crl": True,
        "entry_der": encode_entry(entry.serial, entry.revoked_at, reason, entry.invalidity_date),
        "created_at": uow.now,
    }
