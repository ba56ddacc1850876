"""Browser sessions: a signed cookie, a row, a CSRF token (spec 05 §8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.engine import Row

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import UnitOfWorkFactory, Uow, paginate
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.operations import Page
from certctl_core.kernel.secrets import Keyring, Purpose, Secret
from certctl_core.people.identity._tables import session_signing_keys as keys
from certctl_core.people.identity._tables import sessions as t
from certctl_core.people.identity.errors import BadCredential, SessionInvalid, SessionNotFound
from certctl_core.people.identity.events import (
    CSRFRotated,
    SessionCreated,
    SessionRevoked,
    SigningKeyMade,
    SigningKeyRotated,
)
from certctl_core.people.identity.keys import KeyService
from certctl_core.people.identity.schemas import SessionQuery, SessionView
from certctl_core.people.identity.types import NewSession, Session
from certctl_core.values import dataclass

_VERSION = "v1"
_COOKIE = re.compile(
    r"v1\.(?P<session>ses-[0-9a-f]{64})\.(?P<key>sk-[0-9a-f]{16})\.(?P<mac>[A-Za-z0-9_-]{43})"
)
"""The parts as they are made below; nothing else gets as far as the database."""
_MAC_BYTES = 32
_SECRET_BYTES = 32
_SLIDE_EVERY = timedelta(seconds=60)
_MEMORY_SECONDS = 5.0
_PER_ACTOR = 20
"""More live sessions than this end the oldest (SES-13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """Times and bindings, from the settings."""

    idle: timedelta = timedelta(hours=1)
    absolute: timedelta = timedelta(hours=8)
    key_retention: timedelta = timedelta(hours=24)
    key_rotation: timedelta = timedelta(days=30)
    bind_ip: bool = False
    bind_user_agent: bool = False


class SessionService:
    """Makes, checks and ends browser sessions."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        keyring: Keyring,
        api_keys: KeyService,
        rules: SessionRules,
    ) -> None:
        self._units = units
        self._keyring = keyring
        self._api_keys = api_keys
        self.rules = rules
        self._secrets: dict[str, tuple[bytes, datetime | None]] = {}
        self._live: dict[str, tuple[Row[Any], float]] = {}

    def drop_cache(self) -> None:
        """Forget sessions and signing keys (topic ``sessions``)."""
        self._live = {}
        self._secrets = {}

    def login_with_key(self, value: str, *, ip: str, user_agent: str) -> NewSession:
        """Open a session with an API key; emits ``auth.session_created``.

        Raises:
            BadCredential: The key does not authenticate, or is not one a person signs in with.
        """
        actor = self._api_keys.authenticate(value)
        if actor.type is ActorType.AGENT:
            raise BadCredential
        with self._units.begin(actor) as uow:
            return self.open(uow, actor, method="api_key", ip=ip, user_agent=user_agent)

    def open(self, uow: Uow, actor: Actor, *, method: str, ip: str, user_agent: str) -> NewSession:
        """Open a session for an authenticated actor."""
        key_id, secret = self._active_key(uow)
        session_id = f"{Prefix.SESSION}-{secrets.token_hex(_SECRET_BYTES)}"
        absolute = uow.now + self.rules.absolute
        uow.execute(
            sa.insert(t).values(
                id=session_id,
                actor_id=actor.id,
                actor_type=actor.type,
                actor_label=actor.label[:255],
                signing_key_id=key_id,
                csrf_generation=1,
                auth_method=method,
                ip=ip[:64],
                user_agent=user_agent[:512],
                created_at=uow.now,
                last_seen_at=uow.now,
                idle_expires_at=min(uow.now + self.rules.idle, absolute),
                absolute_expires_at=absolute,
            )
        )
        self._end_oldest(uow, actor)
        uow.emit(SessionCreated(resource_id=session_id, actor_id=actor.id, auth_method=method))
        uow.touch("sessions")
        cookie = f"{_VERSION}.{session_id}.{key_id}.{_mac(secret, session_id, key_id)}"
        session = Session(
            actor=_actor(actor, session_id),
            id=session_id,
            csrf_token=_csrf(secret, session_id, 1),
            absolute_expires_at=absolute,
        )
        return NewSession(session=session, cookie=Secret(cookie))

    def authenticate(self, cookie: str, *, ip: str, user_agent: str) -> Session:
        """Check a session cookie and slide its idle end.

        Raises:
            SessionInvalid: With the cause ``invalid_token``, ``revoked``, ``absolute_timeout``
                or ``idle_timeout``.
        """
        session_id, key_id, mac = _parse(cookie)
        secret = self._secret(key_id)
        if secret is None or not hmac.compare_digest(
            _mac(secret, session_id, key_id).encode(), mac.encode()
        ):
            raise SessionInvalid(cause="invalid_token")
        row = self._row(session_id)
        now = self._units.clock.now()
        _check_times(row, now, self.rules.idle)
        if (self.rules.bind_ip and row.ip != ip) or (
            self.rules.bind_user_agent and row.user_agent != user_agent[:512]
        ):
            raise SessionInvalid(cause="invalid_token")
        if now - row.last_seen_at >= _SLIDE_EVERY:
            self._slide(row)
        actor = Actor(
            type=ActorType(row.actor_type),
            id=row.actor_id,
            label=row.actor_label,
            session_id=session_id,
        )
        return Session(
            actor=actor,
            id=session_id,
            csrf_token=_csrf(secret, session_id, row.csrf_generation),
            absolute_expires_at=row.absolute_expires_at,
        )

    def check_csrf(self, session: Session, token: str) -> bool:
        """Whether ``token`` is the session's CSRF token (constant time)."""
        return hmac.compare_digest(session.csrf_token.encode(), token.encode())

    def revoke(self, uow: Uow, session_id: str) -> None:
        """End a session; emits ``auth.session_revoked``.

        Raises:
            SessionNotFound: No such live session.
        """
        row = uow.first(
            sa.update(t)
            .where(t.c.id == session_id, t.c.revoked_at.is_(None))
            .values(revoked_at=uow.now)
            .returning(t.c.actor_id)
        )
        if row is None:
            raise SessionNotFound(session_id=session_id)
        uow.emit(
            SessionRevoked(
                resource_id=session_id,
                target_actor_id=row.actor_id,
                by_self=row.actor_id == uow.actor.id,
            )
        )
        self._changed(uow)

    def rotate_csrf(self, uow: Uow, *, actor_type: str, actor_id: str) -> None:
        """Give the actor's live sessions new CSRF tokens; emits ``auth.session_csrf_rotated`` each.

        A browser gets its new token with the next answer (05 CSRF-3, CSRF-4).
        """
        found = uow.execute(
            sa.update(t)
            .where(
                t.c.actor_id == actor_id,
                t.c.actor_type == actor_type,
                t.c.revoked_at.is_(None),
                t.c.absolute_expires_at > uow.now,
            )
            .values(csrf_generation=t.c.csrf_generation + 1)
            .returning(t.c.id)
        )
        rotated = found.scalars().all()
        for session_id in rotated:
            uow.emit(CSRFRotated(resource_id=session_id, target_actor_id=actor_id))
        if rotated:
            self._changed(uow)

    def owner_of(self, uow: Uow, session_id: str) -> str:
        """The actor id of a session.

        Raises:
            SessionNotFound: No such session.
        """
        actor_id: str | None = uow.scalar(sa.select(t.c.actor_id).where(t.c.id == session_id))
        if actor_id is None:
            raise SessionNotFound(session_id=session_id)
        return actor_id

    def page(self, uow: Uow, query: SessionQuery, *, actor: Actor | None) -> Page[SessionView]:
        """A page of live sessions: of one actor, or of all when ``actor`` is None."""
        statement = sa.select(t).where(t.c.revoked_at.is_(None), t.c.absolute_expires_at > uow.now)
        if actor is not None:
            statement = statement.where(t.c.actor_id == actor.id, t.c.actor_type == actor.type)
        current = uow.actor.session_id
        return paginate(
            uow,
            statement,
            query=query,
            sorts={"created_at": t.c.created_at},
            id_column=t.c.id,
            view=lambda row: _view(row, current),
        )

    def rotate_signing_key(self, uow: Uow) -> None:
        """Make a new signing key; cookies of the old one verify until its retention ends."""
        uow.execute(sa.update(keys).where(keys.c.retired_at.is_(None)).values(retired_at=uow.now))
        self._new_key(uow)

    def ensure_signing_key(self, uow: Uow) -> None:
        """Make the first signing key, or rotate one that is due (at start and by the loop)."""
        row = uow.first(sa.select(keys).where(keys.c.retired_at.is_(None)))
        if row is None:
            self._new_key(uow)
        elif row.created_at + self.rules.key_rotation <= uow.now:
            self.rotate_signing_key(uow)

    def collect_garbage(self, uow: Uow) -> int:
        """Delete sessions past their end and keys past retention; returns rows deleted."""
        gone = uow.execute(sa.delete(t).where(t.c.absolute_expires_at <= uow.now)).rowcount
        limit = uow.now - self.rules.key_retention
        used = sa.select(t.c.signing_key_id)
        old = uow.execute(
            sa.delete(keys).where(keys.c.retired_at <= limit, keys.c.id.not_in(used))
        ).rowcount
        self.ensure_signing_key(uow)
        return gone + old

    def _active_key(self, uow: Uow) -> tuple[str, bytes]:
        key_id = uow.scalar(sa.select(keys.c.id).where(keys.c.retired_at.is_(None)))
        if key_id is None:
            key_id = self._new_key(uow)
        secret = self._open(uow, key_id)
        assert secret is not None  # noqa: S101 - the row was read or made in this transaction
        return key_id, secret

    def _new_key(self, uow: Uow) -> str:
        key_id = f"{Prefix.SESSION_KEY}-{secrets.token_hex(8)}"
        sealed = self._keyring.seal(
            Purpose.SESSION_KEY,
            secrets.token_bytes(_SECRET_BYTES),
            table="session_signing_keys",
            column="secret",
            row_id=key_id,
        )
        is_first = uow.scalar(sa.select(keys.c.id).limit(1)) is None
        uow.execute(sa.insert(keys).values(id=key_id, secret=sealed, created_at=uow.now))
        event = SigningKeyMade if is_first else SigningKeyRotated
        uow.emit(event(resource_id=key_id))
        self._changed(uow)
        return key_id

    def _secret(self, key_id: str) -> bytes | None:
        found = self._secrets.get(key_id)
        if found is None:
            with self._units.read() as uow:
                return self._open(uow, key_id)
        secret, retired_at = found
        return None if self._is_over(retired_at, self._units.clock.now()) else secret

    def _is_over(self, retired_at: datetime | None, now: datetime) -> bool:
        return retired_at is not None and retired_at + self.rules.key_retention <= now

    def _open(self, uow: Uow, key_id: str) -> bytes | None:
        memory = self._secrets
        row = uow.first(sa.select(keys).where(keys.c.id == key_id))
        if row is None or self._is_over(row.retired_at, uow.now):
            return None
        secret = self._keyring.open(
            Purpose.SESSION_KEY,
            row.secret,
            table="session_signing_keys",
            column="secret",
            row_id=key_id,
        )
        memory[key_id] = (secret, row.retired_at)
        return secret

    def _row(self, session_id: str) -> Row[Any]:
        monotonic = self._units.clock.monotonic()
        memory = self._live
        found = memory.get(session_id)
        if found is not None and found[1] > monotonic:
            return found[0]
        with self._units.read() as uow:
            row = uow.first(sa.select(t).where(t.c.id == session_id))
            if row is None:
                raise SessionInvalid(cause="invalid_token")
            if row.revoked_at is not None:
                raise SessionInvalid(cause="revoked")
            if row.actor_type == ActorType.API_KEY and not self._api_keys.is_live(
                uow, row.actor_id
            ):
                raise SessionInvalid(cause="revoked")
        memory[session_id] = (row, monotonic + _MEMORY_SECONDS)
        return row

    def _slide(self, row: Row[Any]) -> None:
        with self._units.begin() as uow:
            uow.execute(
                sa.update(t)
                .where(t.c.id == row.id, t.c.last_seen_at < uow.now - _SLIDE_EVERY)
                .values(
                    last_seen_at=uow.now,
                    idle_expires_at=min(uow.now + self.rules.idle, row.absolute_expires_at),
                )
            )
        self._live.pop(row.id, None)

    def _end_oldest(self, uow: Uow, actor: Actor) -> None:
        live = (
            sa.select(t.c.id)
            .where(
                t.c.actor_id == actor.id,
                t.c.actor_type == actor.type,
                t.c.revoked_at.is_(None),
                t.c.absolute_expires_at > uow.now,
            )
            .order_by(t.c.created_at.desc(), t.c.id)
            .offset(_PER_ACTOR)
        )
        for session_id in uow.execute(live).scalars().all():
            self.revoke(uow, session_id)

    def _changed(self, uow: Uow) -> None:
        uow.touch("sessions")
        uow.wake("sessions")
        uow.after_commit(self.drop_cache)


def _check_times(row: Row[Any], now: datetime, idle: timedelta) -> None:
    if row.absolute_expires_at <= now:
        raise SessionInvalid(cause="absolute_timeout")
    if row.last_seen_at + idle <= now:
        raise SessionInvalid(cause="idle_timeout")


def _actor(actor: Actor, session_id: str) -> Actor:
    return Actor(type=actor.type, id=actor.id, label=actor.label, session_id=session_id)


def _parse(cookie: str) -> tuple[str, str, str]:
    """Session id, key id and MAC of a cookie (SES-3): one error for every fault."""
    found = _COOKIE.fullmatch(cookie)
    if found is None:
        raise SessionInvalid(cause="invalid_token")
    return found["session"], found["key"], found["mac"]


def _mac(secret: bytes, session_id: str, key_id: str) -> str:
    """MAC over length-prefixed parts, so that moving a boundary changes it (SES-2)."""
    text = f"{len(session_id)}:{session_id}:{len(key_id)}:{key_id}"
    return _b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def _csrf(secret: bytes, session_id: str, generation: int) -> str:
    key = HKDF(algorithm=SHA256(), length=_MAC_BYTES, salt=None, info=b"csrf").derive(secret)
    return _b64(hmac.new(key, f"{session_id}|{generation}".encode(), hashlib.sha256).digest())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _view(row: Row[Any], current: str | None) -> SessionView:
    return SessionView(
        id=row.id,
        actor_id=row.actor_id,
        actor_type=row.actor_type,
        ip_address=row.ip,
        user_agent=row.user_agent,
        auth_method=row.auth_method,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        idle_expires_at=row.idle_expires_at,
        absolute_expires_at=row.absolute_expires_at,
        current=row.id == current,
    )
