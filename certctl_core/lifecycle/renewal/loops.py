"""The renewal loop: what is due, and what the calendar changed (spec 01 REN-01, REN-02)."""

from __future__ import annotations

import structlog

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError, Unavailable
from certctl_core.lifecycle.certificates import CertificateService
from certctl_core.lifecycle.renewal.service import RenewalService, Started

_log = structlog.get_logger("certctl.renewal")
_BATCH = 200
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
    total = 0
    while True:
        try:
            with units.begin(_ACTOR) as uow:
                done = service.start_due(uow, limit=_BATCH)
        except Unavailable:
            raise
        except CertctlError:
            done = _one_by_one(units, service, certificates)
        total += done.started
        if done.looked_at < _BATCH:
            return total


def _one_by_one(
    units: UnitOfWorkFactory, service: RenewalService, certificates: CertificateService
) -> Started:
    """The same batch, each certificate on its own: one that cannot be started waits its turn."""
    with units.read(_ACTOR) as uow:
        due = certificates.due_for_renewal(uow, limit=_BATCH)
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
