"""Pure decision: when does a certificate renew? (spec 06 RNW-2)."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from certctl_core.lifecycle.policies.types import RenewalTerms
from certctl_core.values import dataclass

_SPREAD_SHARE = 0.1
"""Renewals start somewhere inside the first tenth of their window, so that certificates of one
day do not all renew in one second (spec 01 REN-03)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalWindow:
    """When a renewal starts: at some moment between the two.

    Attributes:
        opens: The earliest.
        closes: The latest.
    """

    opens: datetime
    closes: datetime


def renewal_window(
    not_before: datetime, not_after: datetime, policy: RenewalTerms
) -> RenewalWindow | None:
    """The time in which the certificate becomes due, or None when it never renews by itself.

    The window opens at the later of ``renewal_window_days`` before the end and
    ``renew_at_percent`` of the lifetime; so a 90-day certificate renews 30 days early and a
    six-hour one after four hours.

    Args:
        not_before: Start of the current version.
        not_after: Its end.
        policy: The policy that governs the certificate.
    """
    if not policy.auto_renew:
        return None
    lifetime = not_after - not_before
    by_share = not_before + lifetime * policy.renew_at_percent / 100
    by_days = not_after - timedelta(days=policy.renewal_window_days)
    opens = max(by_share, by_days)
    return RenewalWindow(opens=opens, closes=opens + (not_after - opens) * _SPREAD_SHARE)


def renew_at(
    not_before: datetime, not_after: datetime, policy: RenewalTerms, *, seed: str
) -> datetime | None:
    """The moment inside its ``renewal_window`` from which the certificate is due, or None.

    Args:
        not_before: Start of the current version.
        not_after: Its end.
        policy: The policy that governs the certificate.
        seed: Its id: the spread is the same at each computation.
    """
    window = renewal_window(not_before, not_after, policy)
    if window is None:
        return None
    share = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
    return window.opens + (window.closes - window.opens) * share
