"""The renewal loop: what is due, and what the calendar changed (spec 01 REN-01, REN-02)."""

from __future__ import annotations

from datetime import timedelta

import structlog

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError, Unavailable
from certctl_core.lifecycle.certificates import CertificateService
from certctl_core.lifecycle.renewal.service import RenewalService, Started

_log = structlog.get_logger("certctl.renewal")
_BATCH = 200
_ROUNDS = 3
"""A certificate that ends within so many rounds of the renewal loop does not wait for the next."""
_ACTOR = system_actor("scheduler:renewal")


def run_renewals(
    units: UnitOfWorkFactory, service: RenewalService, certificates: CertificateService
) -> int:
    """One tick: move states by date, then start every due renewal in batches.

    Returns:
        How many renewals were started.
    """
    with units.begin(_ACTOR) as uow:
        certificates.sweep_dates(uow)
    return _start_all(units, service, certificates, within=None)


def run_pressing(
    units: UnitOfWorkFactory,
    service: RenewalService,
    certificates: CertificateService,
    *,
    round_trip: timedelta,
) -> int:
    """What cannot wait for the renewal loop: ended certificates, renewals of those that end soon.

    A tick without such work reads once and writes nothing.

    Args:
        units: Opens units of work.
        service: Starts renewals.
        certificates: Their states.
        round_trip: How often the renewal loop comes round.

    Returns:
        How many states were moved and renewals started.
    """
    within = _ROUNDS * round_trip
    with units.read(_ACTOR) as uow:
        ended, due = certificates.pressing(uow, within=within)
    moved = started = 0
    if ended:
        with units.begin(_ACTOR) as uow:
            moved = certificates.sweep_dates(uow)
    if due:
        started = _start_all(units, service, certificates, within=within)
    return moved + started


def _start_all(
    units: UnitOfWorkFactory,
    service: RenewalService,
    certificates: CertificateService,
    *,
    within: timedelta | None,
) -> int:
    total = 0
    while True:
        try:
            with units.begin(_ACTOR) as uow:
                done = service.start_due(uow, limit=_BATCH, within=within)
        except Unavailable:
            raise
        except CertctlError:
            done = _one_by_one(units, service, certificates, within=within)
        total += done.started
        if done.looked_at < _BATCH:
            return total


def _one_by_one(
    units: UnitOfWorkFactory,
    service: RenewalService,
    certificates: CertificateService,
    *,
    within: timedelta | None,
) -> Started:
    """The same batch, each certificate on its own: one that cannot be started waits its turn."""
    with units.read(_ACTOR) as uow:
        due = certificates.due_for_renewal(uow, limit=_BATCH, within=within)
    started = 0
    for view in due:
        try:
            with units.begin(_ACTOR) as uow:
                started += service.start(uow, view.id)
        except Unavailable:
            raise
        except CertctlError as error:
            _log.warning("renewal.not_started", certificate_id=view.id, code=error.code)
            with units.begin(_ACTOR) as uow:
                certificates.postpone(uow, view.id)
    return Started(looked_at=len(due), started=started)
