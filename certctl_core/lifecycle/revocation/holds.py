"""Revocations on hold: they are released, or end in a revocation for good (RFC 5280 §5.3.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.revocation._tables import certificate_revocations as t
from certctl_core.pki.crl import CRLEntry
from certctl_core.pki.reasons import CRLReason


def held_versions(uow: Uow, certificate_id: str) -> frozenset[str]:
    """The ids of the versions of a certificate that are on hold."""
    found = sa.select(t.c.version_id).where(*_held(certificate_id), t.c.version_id.is_not(None))
    return frozenset(uow.execute(found).scalars())


def take_holds(uow: Uow, certificate_id: str) -> list[Row[Any]]:
    """Delete the holds of a certificate; returns their serials, versions and issuers."""
    found = sa.delete(t).where(*_held(certificate_id))
    returned = found.returning(t.c.serial_number, t.c.version_id, t.c.issuer_id)
    return list(uow.execute(returned).all())


def make_final(
    uow: Uow,
    certificate_id: str,
    version_id: str,
    reason: CRLReason,
    invalidity_date: datetime | None,
    *,
    is_told: bool,
) -> None:
    """Give a hold its final reason.

    The revocation date stays when the hold began, as X.509 says of the entry that replaces one of
    a hold. The next CRL encodes the entry anew.

    Args:
        uow: The open unit of work.
        certificate_id: Which certificate.
        version_id: Its version on hold that is revoked for good.
        reason: Any but certificateHold.
        invalidity_date: Replaces the one of the hold, where it is given.
        is_told: Nobody else has to hear of it.
    """
    values = _final(uow, reason, invalidity_date, is_told=is_told)
    held = (*_held(certificate_id), t.c.version_id == version_id)
    uow.execute(sa.update(t).where(*held).values(values))


def restore_final(uow: Uow, issuer_id: str, ca_key_id: str, entry: CRLEntry) -> str | None:
    """Give the hold of a serial the final reason that a CRL has.

    Returns:
        The certificate; empty when it is not known here, None when the serial is not on hold.
    """
    row = uow.first(
        sa.update(t)
        .where(
            t.c.issuer_id == issuer_id,
            t.c.ca_key_id == ca_key_id,
            t.c.serial_number == entry.serial,
            t.c.reason == CRLReason.CERTIFICATE_HOLD,
        )
        .values(_final(uow, entry.reason, entry.invalidity_date, is_told=True))
        .returning(t.c.certificate_id)
    )
    return None if row is None else row.certificate_id or ""


def _final(
    uow: Uow, reason: CRLReason, invalidity_date: datetime | None, *, is_told: bool
) -> dict[str, object]:
    values: dict[str, object] = {
        "reason": reason.value,
        "reason_code": reason.code,
        "revoked_by": uow.actor.id,
        "issuer_notified": is_told,
    }
    return values if invalidity_date is None else values | {"invalidity_date": invalidity_date}


def _held(certificate_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (t.c.certificate_id == certificate_id, t.c.reason == CRLReason.CERTIFICATE_HOLD)
