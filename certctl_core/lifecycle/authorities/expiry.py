"""Warning of CA certificates that end, early enough to replace them (02 CA-7)."""

from __future__ import annotations

from collections.abc import Collection

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.lifecycle.authorities import _store
from certctl_core.lifecycle.authorities.events import CAKeyExpiring
from certctl_core.lifecycle.authorities.types import CERTIFYING_STATES

_ACTOR = system_actor("scheduler:ca_expiry")


def run_ca_expiry(units: UnitOfWorkFactory, thresholds: Collection[int]) -> int:
    """One tick of the loop: warn once for each threshold (days) that a CA has reached.

    Returns:
        How many warnings there were.
    """
    with units.begin(_ACTOR) as uow:
        return warn_of_expiry(uow, thresholds)


def warn_of_expiry(uow: Uow, thresholds: Collection[int]) -> int:
    """Emit ``ca_key.expiring`` for every CA that signs certificates and has come nearer to its end.

    A new certificate for the same key begins anew.
    """
    warned = 0
    for row in _store.list_ends(uow, CERTIFYING_STATES):
        left = (row.not_after - uow.now).days
        reached = min((days for days in thresholds if left < days), default=None)
        if reached == row.warned_days:
            continue
        _store.set_warned(uow, row.issuer_id, row.ca_key_id, reached)
        if reached is None or (row.warned_days is not None and reached > row.warned_days):
            continue
        uow.emit(
            CAKeyExpiring(
                resource_id=row.ca_key_id,
                issuer_id=row.issuer_id,
                subject=row.subject,
                not_after=row.not_after,
                days_left=left,
                threshold_days=reached,
            )
        )
        warned += 1
    return warned
