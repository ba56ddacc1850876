"""Refusals in the audit log: who was denied what, at most once a minute each (05 RBAC-15)."""

from __future__ import annotations

import threading
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError, Forbidden
from certctl_core.people.access.events import AccessDenied

_log = structlog.get_logger("certctl.access")
_EVERY = timedelta(minutes=1)
_MOST_KNOWN = 10_000


class Denials:
    """Writes refusals down, in a transaction of their own: that of the act was rolled back."""

    def __init__(self, units: UnitOfWorkFactory) -> None:
        self._units = units
        self._noted: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()

    def note(self, actor: Actor, refusal: Forbidden, *, operation: str, request_id: str) -> None:
        """Record that an actor was refused.

        A refusal that cannot be recorded stays one: the failure is logged.

        Args:
            actor: Who was refused; known by name.
            refusal: With the permission that is missing, if it is about one.
            operation: What was asked: method and path.
            request_id: Of the request.
        """
        permission = str(refusal.data.get("permission", refusal.code))
        if not self._is_due((actor.type.value, actor.id, permission)):
            return
        try:
            with self._units.begin(actor, request_id=request_id) as uow:
                uow.emit(
                    AccessDenied(resource_id=actor.id, permission=permission, operation=operation)
                )
        except (CertctlError, DBAPIError) as error:
            _log.error("access.denial_not_recorded", actor_id=actor.id, error=type(error).__name__)

    def _is_due(self, key: tuple[str, str, str]) -> bool:
        now = self._units.clock.monotonic()
        with self._lock:
            last = self._noted.get(key)
            if last is not None and now - last < _EVERY.total_seconds():
                return False
            if len(self._noted) >= _MOST_KNOWN:
                self._noted = {}
            self._noted[key] = now
            return True
