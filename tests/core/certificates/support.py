"""Makers of certificates without a CA at work: the tests of this room look at rows and states."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa

from certctl_core.app import Core
from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.certificates import (
    CertificateView,
    IssuedVersion,
    Status,
)
from certctl_core.lifecycle.certificates._tables import managed_certificates as certificates


def create(core: Core, name: str, **body: object) -> CertificateView:
    """A managed certificate in state Pending."""
    made: CertificateView = core.call(
        "certificates.create", body={"common_name": name, "name": name, **body}
    )
    return made


def get(core: Core, certificate_id: str) -> CertificateView:
    view: CertificateView = core.call("certificates.get", path={"certificate_id": certificate_id})
    return view


def version(
    view: CertificateView, *, start: datetime, days: float = 90, agent_id: str | None = None
) -> IssuedVersion:
    """What the choke point would store; the certificate itself is no certificate."""
    mark = secrets.token_hex(32)
    return IssuedVersion(
        cert_der=mark.encode(),
        chain_pem="",
        serial_number=mark[:32],
        not_before=start,
        not_after=start + timedelta(days=days),
        fingerprint_sha256=mark,
        spki_sha256=mark,
        key_algorithm="ECDSA",
        key_size=256,
        issuer_id=view.issuer_id,
        ca_key_id="0" * 40,
        agent_id=agent_id,
    )


def add_version(
    core: Core, certificate_id: str, *, days: float = 90, agent_id: str | None = None
) -> CertificateView:
    """Make a certificate Active with a version that begins now."""
    with core.begin() as uow:
        view = core.rooms.certificates.get(uow, certificate_id)
        issued = version(view, start=uow.now, days=days, agent_id=agent_id)
        return core.rooms.certificates.add_version(uow, certificate_id, issued, view=view)[0]


def active(core: Core, name: str, *, days: float = 90, **body: object) -> CertificateView:
    return add_version(core, create(core, name, **body).id, days=days)


def put(core: Core, certificate_id: str, status: Status) -> None:
    """Put a certificate into a state, whatever the table of steps says; counters follow."""
    with core.begin() as uow:
        c = certificates.c
        old = uow.scalar(sa.select(c.status).where(c.id == certificate_id))
        uow.execute(sa.update(certificates).where(c.id == certificate_id).values(status=status))
        if old != status:
            uow.count(f"certificates.status.{old}", -1)
            uow.count(f"certificates.status.{status}", 1)


def assert_counters_hold(core: Core) -> None:
    """The counter rows equal what counting the rows gives."""
    with core.units.read() as uow:
        assert uow.counters("certificates.status.") == counted(uow)


def counted(uow: Uow) -> dict[str, int]:
    c = certificates.c
    rows = uow.execute(sa.select(c.status, sa.func.count().label("found")).group_by(c.status))
    return {row.status: row.found for row in rows}
