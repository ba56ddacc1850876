"""What a running notifier gets from us: its sealed key/value store and its leases (06 §1.4)."""

from __future__ import annotations

from functools import partial

from certctl_core.insight.notifications._tables import notifier_state
from certctl_core.lifecycle import configured

OWNER = configured.Owner(noun="notifier", table=notifier_state)

SealedState = partial(configured.SealedState, OWNER)
"""The store of one notifier, by its id."""
