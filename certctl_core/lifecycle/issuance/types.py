"""Order states and their one table (spec 06 §4)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from certctl_core.values import dataclass


class OrderState(StrEnum):
    """Where an issuer order is."""

    SUBMITTING = "submitting"
    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


OPEN = (OrderState.SUBMITTING, OrderState.PENDING, OrderState.IN_DOUBT)

TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.SUBMITTING: frozenset(
        {
            OrderState.PENDING,
            OrderState.ISSUED,
            OrderState.FAILED,
            OrderState.IN_DOUBT,
            OrderState.CANCELLED,
        }
    ),
    OrderState.PENDING: frozenset(
        {OrderState.ISSUED, OrderState.FAILED, OrderState.CANCELLED, OrderState.EXPIRED}
    ),
    OrderState.IN_DOUBT: frozenset(
        {OrderState.PENDING, OrderState.ISSUED, OrderState.FAILED, OrderState.CANCELLED}
    ),
    OrderState.ISSUED: frozenset(),
    OrderState.FAILED: frozenset(),
    OrderState.CANCELLED: frozenset(),
    OrderState.EXPIRED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRef:
    """The job on whose behalf something is issued."""

    job_id: str
    agent_id: str | None = None
