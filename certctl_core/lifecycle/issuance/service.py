"""Reading orders."""

from __future__ import annotations

from collections.abc import Sequence

from certctl_core.kernel.db import Uow, paginate, recipe
from certctl_core.kernel.errors import NotFound
from certctl_core.kernel.operations import Page, Resource
from certctl_core.lifecycle.issuance import _store
from certctl_core.lifecycle.issuance._tables import issuer_orders
from certctl_core.lifecycle.issuance.schemas import OrderQuery, OrderView


class OrderNotFound(NotFound):
    """No order has this id."""

    code = "order_not_found"
    text = "There is no issuer order {order_id}."


class OrderService:
    """The orders and their decision records; the workflow writes them."""

    def page(
        self, uow: Uow, query: OrderQuery, *, scopes: Sequence[Resource] | None = None
    ) -> Page[OrderView]:
        """A page of orders; ``scopes`` limits it to those of some issuers."""
        return paginate(
            uow,
            recipe(_store.selection, query, scopes),
            query=query,
            sorts=_store.SORTS,
            id_column=issuer_orders.c.id,
            view=_store.view,
        )

    def get(self, uow: Uow, order_id: str) -> OrderView:
        """One order.

        Raises:
            OrderNotFound: No such id.
        """
        row = _store.one(uow, order_id)
        if row is None:
            raise OrderNotFound(order_id=order_id)
        return _store.view(row)
