"""Group commit: small transactions that arrive together share one commit.

While one request writes, others gather; the next one to write takes them all along. A request
that comes alone waits for nobody. Who is answered has committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db.errors import DatabaseBusy, DatabaseUnavailable
from certctl_core.kernel.db.uow import UnitOfWorkFactory, Uow

Item = TypeVar("Item")
Result = TypeVar("Result")

GROUP_MAX = 64
"""Requests in one commit; more wait for the next."""


class _Call(Generic[Item, Result]):
    """One request on its way."""

    __slots__ = ("actor", "error", "item", "leads", "request_id", "result", "turn")

    def __init__(self, item: Item, actor: Actor, request_id: str) -> None:
        self.item = item
        self.actor = actor
        self.request_id = request_id
        # Held until this request may go on; an Event is several locks and takes as many times longer.
        self.turn = threading.Lock()
        self.turn.acquire()
        self.leads = False
        self.result: Result | None = None
        self.error: BaseException | None = None


class Group(Generic[Item, Result]):
    """Runs ``work`` for each item in a write transaction that concurrent items share.

    ``work`` must be safe to run again: when one item fails, the transaction is rolled back and
    every item is run in one of its own, so that each gets its own answer.
    """

    def __init__(self, units: UnitOfWorkFactory, work: Callable[[Uow, Item], Result]) -> None:
        self._units = units
        self._work = work
        self._lock = threading.Lock()
        self._waiting: list[_Call[Item, Result]] = []
        self._busy = False

    def run(self, item: Item, *, actor: Actor, request_id: str) -> Result:
        """Do the work for one item and give its result once it is durable.

        Raises:
            Exception: Whatever ``work`` or the commit raises for this item.
        """
        call = _Call[Item, Result](item, actor, request_id)
        with self._lock:
            self._waiting.append(call)
            call.leads = not self._busy
            self._busy = True
        if not call.leads:
            call.turn.acquire()
        if call.leads:
            self._lead(call)
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value] # set unless there is an error

    def _lead(self, own: _Call[Item, Result]) -> None:
        with self._lock:
            calls = self._waiting[:GROUP_MAX]
            del self._waiting[:GROUP_MAX]
        try:
            self._together(calls)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            if following is not None:
                following.leads = True
                following.turn.release()
            for call in calls:
                if call is not own:
                    call.turn.release()

    def _together(self, calls: list[_Call[Item, Result]]) -> None:
        try:
            with self._units.begin(calls[0].actor, request_id=calls[0].request_id) as uow:
                for call in calls:
                    uow.act_for(call.actor, call.request_id)
                    call.result = self._work(uow, call.item)
        except (DatabaseBusy, DatabaseUnavailable) as error:  # and would be for each of them
            for call in calls:
                call.error = error
        except Exception as error:  # noqa: BLE001 - handed to the caller that it belongs to
            if len(calls) == 1:
                calls[0].error = error
            else:
                for call in calls:
                    self._together([call])
        except BaseException as error:
            for call in calls:
                call.error = error
            raise
