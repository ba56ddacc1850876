"""What a running issuer gets from us: its sealed key/value store and its leases (06 §1.4)."""

from __future__ import annotations

from functools import partial

from certctl_core.lifecycle import configured
from certctl_core.lifecycle.issuers._tables import issuer_state

OWNER = configured.Owner(noun="issuer", table=issuer_state)

SealedState = partial(configured.SealedState, OWNER)
"""The store of one issuer, by its id."""

DatabaseLocks = partial(configured.LeasedLocks, OWNER)
"""The leases of one issuer, by its id."""
