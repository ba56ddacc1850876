"""Who holds an agent's bearer key (AGT-10, AGT-11), with a memory of at most five seconds."""

from __future__ import annotations

from datetime import datetime

from certctl_core.fleet.agents import _store
from certctl_core.fleet.agents.errors import AgentKeyInvalid, AgentRetired
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory
from certctl_core.values import dataclass

_CACHE_SECONDS = 5.0
_CACHE_MAX = 50_000


@dataclass(frozen=True, slots=True)
class _Known:
    actor: Actor
    retired: bool
    until: float
    expires_at: datetime | None


class AgentAuthenticator:
    """Looks up agents' keys; register ``authenticate`` for the prefix ``cca_``.

    Args:
        units: Opens units of work.
        feed: The change feed; the topic ``agents`` empties the memory.
    """

    def __init__(self, *, units: UnitOfWorkFactory, feed: ChangeFeed | None = None) -> None:
        self._units = units
        self._known: dict[str, _Known] = {}
        if feed is not None:
            feed.subscribe("agents", self.drop_cache)

    def drop_cache(self) -> None:
        """Forget every key (topic ``agents``)."""
        self._known = {}

    def authenticate(self, value: str) -> Actor:
        """The agent that holds this key.

        Raises:
            AgentKeyInvalid: It is no agent's key, or an old one whose time is over.
            AgentRetired: The agent is retired: 410 wherever the key is used.
        """
        digest = _store.hash_key(value)
        clock = self._units.clock
        known = self._known.get(digest)
        if known is None or known.until <= clock.monotonic():
            known = self._look_up(digest)
        if known.expires_at is not None and known.expires_at <= clock.now():
            raise AgentKeyInvalid
        if known.retired:
            raise AgentRetired
        return known.actor

    def _look_up(self, digest: str) -> _Known:
        with self._units.read() as uow:
            row = _store.by_credential(uow, digest)
        if row is None:
            raise AgentKeyInvalid
        known = _Known(
            actor=Actor(type=ActorType.AGENT, id=row.id, label=row.name),
            retired=row.retired_at is not None,
            until=self._units.clock.monotonic() + _CACHE_SECONDS,
            expires_at=None if row.credential_hash == digest else row.previous_expires_at,
        )
        if len(self._known) >= _CACHE_MAX:
            self._known = {}
        self._known[digest] = known
        return known
