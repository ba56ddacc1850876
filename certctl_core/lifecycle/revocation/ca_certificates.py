"""CA certificates of a tree on the CRL of the CA that signed them (02 §9)."""

from __future__ import annotations

from datetime import datetime

from certctl_core.kernel.db import Uow
from certctl_core.kernel.ids import Prefix
from certctl_core.lifecycle.revocation._tables import certificate_revocations as t
from certctl_core.pki.crl import encode_entry
from certctl_core.pki.reasons import CRLReason


def record_ca_revocation(
    uow: Uow,
    *,
    issuer_id: str,
    ca_key_id: str,
    serial: str,
    not_after: datetime,
    reason: CRLReason,
) -> None:
    """Revoke the certificate of a CA: it is on the next CRL of its parent; idempotent.

    Args:
        uow: The open unit of work.
        issuer_id: Whose tree.
        ca_key_id: The key that signed the certificate.
        serial: Canonical form.
        not_after: When the certificate ends.
        reason: RFC 5280 §5.3.1.
    """
    uow.execute(
        uow.insert(t)
        .values(
            id=uow.new_id(Prefix.REVOCATION),
            certificate_id=None,
            version_id=None,
            serial_number=serial,
            reason=reason.value,
            reason_code=reason.code,
            invalidity_date=None,
            revoked_by=uow.actor.id,
            revoked_at=uow.now,
            issuer_id=issuer_id,
            ca_key_id=ca_key_id,
            issuer_notified=True,
            not_after=not_after,
            on_crl=True,
            entry_der=encode_entry(serial, uow.now, reason, None),
            created_at=uow.now,
        )
        .on_conflict_do_nothing()
    )
    uow.wake("pki")
