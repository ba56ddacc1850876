"""Which certificates does an action on many mean? Keyset batches, never a page (02 REV-5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.certificates._store import has_valid_version_of
from certctl_core.lifecycle.certificates._tables import certificate_versions as versions
from certctl_core.lifecycle.certificates._tables import managed_certificates as certificates
from certctl_core.lifecycle.certificates.types import Source, Status
from certctl_core.pki.reasons import CRLReason
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What all meant certificates have in common; members that are None do not matter.

    Attributes:
        certificate_ids: They are among these.
        profile_id: They follow this profile.
        issuer_id: They belong to this issuer.
        agent_id: This agent holds the key of a version in use.
        ca_key_id: This CA key signed a version in use that is not revoked for good.
        spki_sha256: A version of this public key is valid: neither expired nor revoked.
        source: Where they came from.
        scopes: What the actor may act on; None means everything.
    """

    certificate_ids: tuple[str, ...] | None = None
    profile_id: str | None = None
    issuer_id: str | None = None
    agent_id: str | None = None
    ca_key_id: str | None = None
    spki_sha256: str | None = None
    source: Source | None = None
    scopes: tuple[Resource, ...] | None = None


def count_by_status(uow: Uow, wanted: Matching) -> dict[Status, int]:
    """How many certificates match, by status."""
    c = certificates.c
    number = sa.func.count().label("number")
    statement = sa.select(c.status, number).where(*_conditions(wanted, uow.now)).group_by(c.status)
    return {Status(row.status): int(row.number) for row in uow.execute(statement)}


def count_held(uow: Uow, wanted: Matching) -> int:
    """How many of the matching certificates are on hold."""
    return int(uow.scalar(sa.select(sa.func.count()).where(*_conditions(wanted, uow.now), _HELD)))


def next_ids(
    uow: Uow,
    wanted: Matching,
    *,
    after: str,
    limit: int,
    leave_out: Sequence[Status] = (),
    takes_held: bool = False,
) -> list[str]:
    """The ids of matching certificates that follow ``after``, in order of id.

    ``takes_held``: also what is on hold, although Revoked is left out.
    """
    c = certificates.c
    statement = sa.select(c.id).where(c.id > after, *_conditions(wanted, uow.now))
    if leave_out:
        others = c.status.not_in(leave_out)
        statement = statement.where(sa.or_(others, _HELD) if takes_held else others)
    return list(uow.execute(statement.order_by(c.id).limit(limit)).scalars())


def _conditions(wanted: Matching, now: datetime) -> list[sa.ColumnElement[bool]]:
    c = certificates.c
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.certificate_ids is not None:
        conditions.append(c.id.in_(wanted.certificate_ids))
    for column, value in (
        (c.certificate_profile_id, wanted.profile_id),
        (c.issuer_id, wanted.issuer_id),
        (c.source, wanted.source),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.agent_id is not None:
        conditions.append(_has_version(versions.c.agent_id == wanted.agent_id))
    if wanted.ca_key_id is not None:
        conditions.append(
            _has_version(
                versions.c.ca_key_id == wanted.ca_key_id,
                sa.or_(versions.c.revoked_at.is_(None), _HELD),
            )
        )
    if wanted.spki_sha256 is not None:
        conditions.append(has_valid_version_of(wanted.spki_sha256, now))
    if wanted.scopes is not None:
        profiles = [scope.profile_id for scope in wanted.scopes if scope.profile_id]
        issuers = [scope.issuer_id for scope in wanted.scopes if scope.issuer_id]
        conditions.append(sa.or_(c.certificate_profile_id.in_(profiles), c.issuer_id.in_(issuers)))
    return conditions


_HELD: sa.ColumnElement[bool] = sa.and_(
    certificates.c.status == Status.REVOKED,
    certificates.c.revocation_reason == CRLReason.CERTIFICATE_HOLD,
)


def _has_version(*conditions: Any) -> sa.ColumnElement[bool]:
    v = versions.c
    return sa.exists().where(
        v.certificate_id == certificates.c.id, v.is_current.is_(True), *conditions
    )
