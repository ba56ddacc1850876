"""Queries of the issuance room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import RowView, Uow
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.issuance._tables import issuer_orders as orders
from certctl_core.lifecycle.issuance.errors import OrderInProgress, OrderSettledElsewhere
from certctl_core.lifecycle.issuance.schemas import OrderQuery, OrderView
from certctl_core.lifecycle.issuance.types import TRANSITIONS, OrderState
from certctl_core.lifecycle.profiles import Verdict

LEASE = timedelta(seconds=120)
"""How long a call to an issuer may take before the order counts as abandoned (06 ORD-9)."""

SAME_REQUEST = timedelta(hours=24)
"""How long the same CSR means the same request, as for ``Idempotency-Key`` (01 API-16)."""

SORTS: dict[str, sa.ColumnElement[Any]] = {
    "created_at": orders.c.created_at,
    "updated_at": orders.c.updated_at,
}
_HIDDEN = {"idempotency_key", "rejected_pem", "lease_expires_at"}
_SHOWN = [column for column in orders.c if column.name not in _HIDDEN]


view = RowView(OrderView)
"""Row → view."""


def selection(query: OrderQuery, scopes: Sequence[Resource] | None) -> sa.Select[Any]:
    """The filtered list, unsorted."""
    statement = sa.select(*_SHOWN)
    if scopes is not None:
        issuers = [scope.issuer_id for scope in scopes if scope.issuer_id]
        statement = statement.where(orders.c.issuer_id.in_(issuers))
    for column, value in (
        (orders.c.issuer_id, query.issuer_id),
        (orders.c.certificate_id, query.certificate_id),
        (orders.c.state, query.state),
    ):
        if value is not None:
            statement = statement.where(column == value)
    return statement


def one(uow: Uow, order_id: str) -> Row[Any] | None:
    """One order by id."""
    return uow.first(sa.select(*_SHOWN).where(orders.c.id == order_id))


def record(uow: Uow, order_id: str, *, decision: list[Verdict], **values: Any) -> None:
    """Write down what is about to be asked for, in state ``submitting``.

    Raises:
        OrderInProgress: With the flush: the same CSR has an open order for this certificate.
    """
    _add(uow, order_id, decision, OrderState.SUBMITTING, lease=uow.now + LEASE, values=values)


def record_issued(
    uow: Uow,
    order_id: str,
    *,
    version_id: str,
    vendor_ref: dict[str, str] | None,
    decision: list[Verdict],
    **values: Any,
) -> None:
    """Write down an order together with what it led to, in state ``issued``."""
    values |= {"result_version_id": version_id, "vendor_ref": vendor_ref}
    _add(uow, order_id, decision, OrderState.ISSUED, lease=None, values=values)


def _add(
    uow: Uow,
    order_id: str,
    decision: list[Verdict],
    state: OrderState,
    *,
    lease: datetime | None,
    values: dict[str, Any],
) -> None:
    def taken() -> Exception:
        found = uow.scalar(
            sa.select(orders.c.id).where(
                orders.c.certificate_id == values["certificate_id"],
                orders.c.csr_sha256 == values["csr_sha256"],
            )
        )
        return OrderInProgress(order_id=found)

    row = {
        "id": order_id,
        "state": state,
        "decision": [
            {"rule": item.rule, "ok": item.ok, "detail": item.detail} for item in decision
        ],
        "lease_expires_at": lease,
        "created_at": uow.now,
        "updated_at": uow.now,
        **values,
    }
    uow.add(orders, row, taken=taken)


def settle(uow: Uow, order_id: str, *, version_id: str, vendor_ref: dict[str, str] | None) -> None:
    """Move an order that was just submitted to ``issued``, with the next flush.

    Raises:
        OrderSettledElsewhere: With the flush: it is not ``submitting`` any more.
    """
    uow.swap(
        orders,
        expected={"id": order_id, "state": OrderState.SUBMITTING},
        values={
            "state": OrderState.ISSUED,
            "updated_at": uow.now,
            "lease_expires_at": None,
            "result_version_id": version_id,
            "vendor_ref": vendor_ref,
        },
        lost=lambda: OrderSettledElsewhere(order_id=order_id),
    )


def finished(uow: Uow, certificate_id: str, csr_sha256: str, *, job_id: str | None) -> str | None:
    """The version that this very request already led to, if any.

    With a job it is the one of that job; without one, the newest of the last day. A client that
    keeps its key may send the same bytes again months later: that is a renewal.
    """
    statement = sa.select(orders.c.result_version_id).where(
        orders.c.certificate_id == certificate_id,
        orders.c.csr_sha256 == csr_sha256,
        orders.c.state == OrderState.ISSUED,
    )
    if job_id is not None:
        statement = statement.where(orders.c.job_id == job_id)
    else:
        statement = statement.where(orders.c.updated_at > uow.now - SAME_REQUEST)
    version_id: str | None = uow.scalar(
        statement.order_by(orders.c.created_at.desc(), orders.c.id.desc()).limit(1)
    )
    return version_id


def repeated(uow: Uow, key: str) -> Row[Any] | None:
    """The order that an earlier copy of a request left behind; ``is_recent`` within a day."""
    return uow.first(
        sa.select(
            orders.c.id,
            orders.c.certificate_id,
            orders.c.state,
            orders.c.result_version_id,
            (orders.c.created_at > uow.now - SAME_REQUEST).label("is_recent"),
        ).where(orders.c.idempotency_key == key)
    )


def move(uow: Uow, order_id: str, to: OrderState, **values: Any) -> bool:
    """One conditional UPDATE along the state table; false when the order had moved on."""
    sources = [state for state, targets in TRANSITIONS.items() if to in targets]
    result = uow.execute(
        sa.update(orders)
        .where(orders.c.id == order_id, orders.c.state.in_(sources))
        .values(state=to, updated_at=uow.now, lease_expires_at=None, **values)
    )
    return result.rowcount == 1


def abandoned(uow: Uow, *, everything: bool) -> list[Row[Any]]:
    """Orders whose process died while it waited for the issuer."""
    statement = sa.select(orders.c.id, orders.c.certificate_id, orders.c.job_id).where(
        orders.c.state == OrderState.SUBMITTING
    )
    if not everything:
        statement = statement.where(orders.c.lease_expires_at < uow.now)
    return list(uow.execute(statement.limit(1000)).all())
