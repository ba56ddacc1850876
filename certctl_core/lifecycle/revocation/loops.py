"""The loops: CRLs that are missing or outdated, responders near their end, OCSP answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from certctl_core.lifecycle.revocation.crl import CRLService
from certctl_core.lifecycle.revocation.presigning import Presigner
from certctl_core.lifecycle.revocation.responders import ResponderService
from certctl_core.lifecycle.revocation.responses import ResponseCache
from certctl_core.lifecycle.revocation.types import Trigger


def run_crl(
    crls: CRLService, responders: ResponderService, *, interval: timedelta, at_start: bool = False
) -> int:
    """One tick; returns how many CRLs and responders were made."""
    trigger = Trigger.START if at_start else Trigger.TICK
    made = crls.refresh(trigger=trigger, margin=interval * 2)
    made += responders.refresh()
    crls.prune_events()
    return made


def run_changed_crls(crls: CRLService, *, at_start: bool = False) -> int:
    """Make the lists that revocations since the last run have outdated; returns for how many keys.

    Runs every few seconds: a burst of revocations ends up in one list.
    """
    return crls.refresh_changed(at_start=at_start)


def run_ocsp_purge(responses: ResponseCache) -> int:
    """One tick: delete the answers that have ended (02 OCC-4); returns how many."""
    return responses.purge_expired()


def run_ocsp_presign(
    presigner: Presigner, *, interval: timedelta, is_over: Callable[[], bool]
) -> int:
    """One tick: sign what would end before the next but one (02 OCC-4); returns how many."""
    return presigner.run(lasting=interval, is_over=is_over)
