"""API keys: made once, kept as a hash, looked up with a short memory (spec 05 §3)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Row

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import UnitOfWorkFactory, Uow, paginate
from certctl_core.kernel.errors import CertctlError, FieldError, Invalid
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.operations import Page
from certctl_core.kernel.secrets import Secret
from certctl_core.people.access import AccessService
from certctl_core.people.identity._tables import api_keys as t
from certctl_core.people.identity.errors import (
    APIKeyNameTaken,
    APIKeyNotFound,
    BadCredential,
    ExpiryRequired,
)
from certctl_core.people.identity.events import (
    APIKeyCreated,
    APIKeyRevoked,
    APIKeyRotated,
)
from certctl_core.people.identity.schemas import (
    APIKeyQuery,
    APIKeyView,
    CreateAPIKey,
    NewAPIKeyView,
)
from certctl_core.people.identity.types import KEY_PREFIX, ConfiguredKey
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.identity")
_CACHE_SECONDS = 5.0
_CACHE_MAX = 10_000
_USED_EVERY = timedelta(seconds=60)

Authenticator = Callable[[str], Actor]

_NO_VALUE = {"key_hash": t.c.id, "previous_hash": None}
"""A revoked key keeps its row and forgets its value, which the settings may name again."""


@dataclass(frozen=True, slots=True)
class _Known:
    actor: Actor
    until: float
    expires_at: datetime | None


def hash_key(value: str) -> str:
    """SHA-256 hex: enough for 256 bits of randomness (05 KEY-2)."""
    return hashlib.sha256(value.encode()).hexdigest()


def new_value() -> Secret:
    """A fresh key: ``ctl_<4 characters>_<64 hex digits>``; scanners find the form."""
    return Secret(f"{KEY_PREFIX}{secrets.token_hex(2)}_{secrets.token_hex(32)}")


class KeyService:
    """API keys and the bearer authentication of every kind of key."""

    def __init__(self, *, units: UnitOfWorkFactory, access: AccessService) -> None:
        self._units = units
        self._access = access
        self._known: dict[str, _Known] = {}
        self._used: dict[str, datetime] = {}
        self._others: list[tuple[str, Authenticator]] = []

    def drop_cache(self) -> None:
        """Forget every key (topic ``keys``)."""
        self._known = {}

    def register_authenticator(self, prefix: str, authenticate: Authenticator) -> None:
        """Another room's keys (``cca_`` of agents); ``authenticate`` raises when unknown."""
        self._others.append((prefix, authenticate))

    def authenticate(self, value: str) -> Actor:
        """Who holds this bearer key.

        Raises:
            BadCredential: Unknown, expired or revoked.
            DatabaseUnavailable: It cannot be looked up now.
        """
        for prefix, authenticate in self._others:
            if value.startswith(prefix):
                return authenticate(value)
        digest = hash_key(value)
        clock = self._units.clock
        known = self._known.get(digest)
        if known is None or known.until <= clock.monotonic():
            known = self._look_up(digest)
        now = clock.now()
        if known.expires_at is not None and known.expires_at <= now:
            raise BadCredential
        self._note_use(known.actor.id, now)
        return known.actor

    def _look_up(self, digest: str) -> _Known:
        # What is read goes into this dictionary: a change meanwhile has put another in its place.
        memory = self._known
        with self._units.read() as uow:
            row = uow.first(
                sa.select(t).where(
                    sa.or_(t.c.key_hash == digest, t.c.previous_hash == digest),
                    t.c.revoked_at.is_(None),
                )
            )
        if row is None:
            raise BadCredential
        ends = [row.expires_at]
        if row.key_hash != digest:
            ends.append(row.previous_expires_at)
        known = _Known(
            actor=Actor(type=ActorType.API_KEY, id=row.id, label=row.name),
            until=self._units.clock.monotonic() + _CACHE_SECONDS,
            expires_at=min((end for end in ends if end is not None), default=None),
        )
        if len(memory) >= _CACHE_MAX:
            memory.clear()
        memory[digest] = known
        return known

    def _note_use(self, key_id: str, now: datetime) -> None:
        last = self._used.get(key_id)
        if last is not None and now - last < _USED_EVERY:
            return
        self._used[key_id] = now
        try:
            with self._units.begin() as uow:
                uow.execute(sa.update(t).where(t.c.id == key_id).values(last_used_at=now))
        except CertctlError as error:
            _log.warning("api_key.use_not_noted", key_id=key_id, code=error.code)

    def is_live(self, uow: Uow, key_id: str) -> bool:
        """Whether the key still works (sessions that were opened with it ask)."""
        row = uow.first(sa.select(t.c.revoked_at, t.c.expires_at).where(t.c.id == key_id))
        if row is None or row.revoked_at is not None:
            return False
        return row.expires_at is None or row.expires_at > uow.now

    def create(
        self, uow: Uow, body: CreateAPIKey, *, source: str = "local", value: Secret | None = None
    ) -> NewAPIKeyView:
        """Make a key with its roles; emits ``auth.key.created`` and the grants.

        Raises:
            ExpiryRequired: Neither an end nor the wish for none.
            Invalid: The end is in the past.
            APIKeyNameTaken: A live key has the name.
            RoleNotFound, EscalationRefused: As of ``AccessService.grant``.
        """
        if (body.expires_at is None) != body.no_expiry:
            raise ExpiryRequired
        if body.expires_at is not None and body.expires_at <= uow.now:
            raise Invalid(fields=[FieldError(field="expires_at", message="is in the past")])
        secret = value or new_value()
        key_id = uow.new_id(Prefix.API_KEY)
        row = uow.first(
            uow.insert(t)
            .values(
                id=key_id,
                name=body.name,
                key_hash=hash_key(secret.reveal()),
                source=source,
                created_by=uow.actor.id,
                created_at=uow.now,
                expires_at=body.expires_at,
            )
            .on_conflict_do_nothing()
            .returning(t)
        )
        if row is None:
            raise APIKeyNameTaken
        for role_id in body.role_ids:
            self._access.grant(
                uow,
                actor_type=ActorType.API_KEY,
                actor_id=key_id,
                role_id=role_id,
                expires_at=body.expires_at,
                source=source,
            )
        uow.emit(
            APIKeyCreated(resource_id=key_id, key_name=body.name, role_ids=tuple(body.role_ids))
        )
        self._changed(uow)
        view = _view(row, sorted(body.role_ids))
        return NewAPIKeyView(key_value=secret.reveal(), **view.model_dump())

    def rotate(self, uow: Uow, key_id: str, *, overlap: timedelta) -> NewAPIKeyView:
        """Give a key a new value; emits ``auth.key.rotated``.

        Raises:
            APIKeyNotFound: No such live key.
            EscalationRefused: The calling actor holds less than the key.
        """
        self._access.require_containment(uow, actor_type=ActorType.API_KEY, actor_id=key_id)
        secret = new_value()
        row = uow.first(
            sa.update(t)
            .where(t.c.id == key_id, t.c.revoked_at.is_(None))
            .values(
                previous_hash=t.c.key_hash if overlap else None,
                previous_expires_at=uow.now + overlap,
                key_hash=hash_key(secret.reveal()),
            )
            .returning(t)
        )
        if row is None:
            raise APIKeyNotFound(key_id=key_id)
        uow.emit(
            APIKeyRotated(
                resource_id=key_id,
                key_name=row.name,
                overlap_seconds=int(overlap.total_seconds()),
            )
        )
        self._changed(uow)
        view = _view(row, self._roles(uow, key_id))
        return NewAPIKeyView(key_value=secret.reveal(), **view.model_dump())

    def revoke(self, uow: Uow, key_id: str) -> None:
        """Switch a key off for good; emits ``auth.key.revoked``.

        Raises:
            APIKeyNotFound: No such live key.
            LastAdmin: It is the last administrator.
        """
        row = uow.first(
            sa.update(t)
            .where(t.c.id == key_id, t.c.revoked_at.is_(None))
            .values(revoked_at=uow.now, **_NO_VALUE)
            .returning(t.c.name)
        )
        if row is None:
            raise APIKeyNotFound(key_id=key_id)
        self._access.revoke_all(uow, actor_type=ActorType.API_KEY, actor_id=key_id)
        uow.emit(APIKeyRevoked(resource_id=key_id, key_name=row.name))
        self._changed(uow)
        uow.wake("sessions")

    def page(self, uow: Uow, query: APIKeyQuery) -> Page[APIKeyView]:
        """A page of keys."""
        statement = sa.select(t)
        if not query.include_revoked:
            statement = statement.where(t.c.revoked_at.is_(None))
        if query.q:
            statement = statement.where(t.c.name.icontains(query.q, autoescape=True))
        return paginate(
            uow,
            statement,
            query=query,
            sorts={"created_at": t.c.created_at, "name": t.c.name},
            id_column=t.c.id,
            view=lambda row: _view(row, self._roles(uow, row.id)),
        )

    def apply_configured(self, uow: Uow, configured: Sequence[ConfiguredKey]) -> None:
        """Make stored keys of source ``config`` equal to the settings (idempotent, at start)."""
        by_name: dict[str, list[ConfiguredKey]] = {}
        for item in configured:
            by_name.setdefault(item.name, []).append(item)
        rows = uow.execute(
            sa.select(t).where(t.c.source == "config", t.c.revoked_at.is_(None))
        ).all()
        stored = {row.name: row for row in rows}
        for row in rows:
            if row.name not in by_name:
                uow.execute(
                    sa.update(t).where(t.c.id == row.id).values(revoked_at=uow.now, **_NO_VALUE)
                )
                self._access.drop_grants(
                    uow, actor_type=ActorType.API_KEY, actor_id=row.id, source="config"
                )
                self._changed(uow)
                uow.wake("sessions")
        for name, items in by_name.items():
            self._apply(uow, name, items[:2], stored.get(name))

    def _apply(
        self, uow: Uow, name: str, items: Sequence[ConfiguredKey], row: Row[Any] | None
    ) -> None:
        """One configured name: one value, or two while they overlap (05 KEY-7)."""
        role_id = items[0].role_id
        first, *others = [hash_key(item.key.reveal()) for item in items]
        second = others[0] if others else None
        if row is None:
            body = CreateAPIKey(name=name, role_ids=[role_id], no_expiry=True)
            key_id = self.create(uow, body, source="config", value=items[0].key).id
        else:
            key_id = row.id
        if row is None or (row.key_hash, row.previous_hash) != (first, second):
            uow.execute(
                sa.update(t)
                .where(t.c.id == key_id)
                .values(key_hash=first, previous_hash=second, previous_expires_at=None)
            )
            self._changed(uow)
        self._access.drop_grants(
            uow,
            actor_type=ActorType.API_KEY,
            actor_id=key_id,
            source="config",
            besides=role_id,
        )
        self._access.grant(
            uow,
            actor_type=ActorType.API_KEY,
            actor_id=key_id,
            role_id=role_id,
            source="config",
        )

    def _roles(self, uow: Uow, key_id: str) -> list[str]:
        return self._access.roles_of(uow, actor_type=ActorType.API_KEY, actor_id=key_id)

    def _changed(self, uow: Uow) -> None:
        uow.touch("api_keys")
        uow.wake("keys")
        uow.after_commit(self.drop_cache)


def _view(row: Row[Any], roles: list[str]) -> APIKeyView:
    hidden = {"key_hash", "previous_hash", "previous_expires_at"}
    members = {name: value for name, value in row._asdict().items() if name not in hidden}
    return APIKeyView(roles=roles, **members)
