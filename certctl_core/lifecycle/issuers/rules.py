"""Pure decisions about issuers."""

from __future__ import annotations

from certctl_core.contracts.errors import ErrorClass
from certctl_core.lifecycle.issuers.types import IssuerHealth

_TELLING = frozenset({"submit", "renew", "poll", "revoke", "unhold", "ca_chain", "tick"})
"""The calls that say something about the other side; a test records its own outcome."""

_FAILING = frozenset({ErrorClass.AUTH, ErrorClass.TRUST, ErrorClass.CONFIG})
_DEGRADED = frozenset(
    {ErrorClass.TIMEOUT, ErrorClass.NETWORK, ErrorClass.UPSTREAM_5XX, ErrorClass.PROTOCOL}
)


def health_after(what: str, error_class: ErrorClass | None) -> IssuerHealth | None:
    """What one finished call says about an issuer; None for nothing (06 ISS-5).

    A refused order is not the issuer's illness, nor is a rate limit.
    """
    if what not in _TELLING:
        return None
    if error_class is None:
        return IssuerHealth.HEALTHY
    if error_class in _FAILING:
        return IssuerHealth.FAILING
    if error_class in _DEGRADED:
        return IssuerHealth.DEGRADED
    return None
