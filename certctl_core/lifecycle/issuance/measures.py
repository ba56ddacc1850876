"""What issuing is measured by (08 §8 MET, 01 MET-03, MET-04)."""

from __future__ import annotations

from certctl_core.kernel.observability import counter, histogram

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0, 3600.0, 86400.0)
"""Seconds; our own CA answers at once, others may let a person decide."""
_GONE = "unknown"
"""The issuer was deleted while it worked."""
_TOTAL = counter("certctl_issuance_total", "Orders that ended, by how.", ("issuer_type", "outcome"))
_FAILURES = counter(
    "certctl_issuance_failures_total",
    "Orders that failed, by the class of the failure.",
    ("issuer_type", "error_class"),
)
_DURATION = histogram(
    "certctl_issuance_duration_seconds",
    "From the decision to the stored certificate.",
    ("issuer_type",),
    buckets=_BUCKETS,
)


def count_issued(issuer_type: str, seconds: float) -> None:
    """A certificate was issued and stored."""
    _TOTAL.labels(issuer_type or _GONE, "success").inc()
    _DURATION.labels(issuer_type or _GONE).observe(seconds)


def count_failed(issuer_type: str, error_class: str) -> None:
    """An order ended without a certificate."""
    _TOTAL.labels(issuer_type or _GONE, "failure").inc()
    _FAILURES.labels(issuer_type or _GONE, error_class).inc()
