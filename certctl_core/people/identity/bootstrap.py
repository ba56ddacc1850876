"""The first administrator: printed once at the first start, or by a bootstrap token (05 §5)."""

from __future__ import annotations

import hmac

import sqlalchemy as sa

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.secrets import Secret
from certctl_core.people.access import AccessService
from certctl_core.people.identity._tables import api_keys, bootstrap_state
from certctl_core.people.identity.errors import (
    APIKeyNameTaken,
    BadCredential,
    BootstrapClosed,
    NoWayIn,
)
from certctl_core.people.identity.events import BootstrapConsumed, FirstStart
from certctl_core.people.identity.keys import KeyService
from certctl_core.people.identity.schemas import (
    Bootstrap,
    BootstrapState,
    BootstrapView,
    CreateAPIKey,
)

_TOKEN_ACTOR = Actor(type=ActorType.SYSTEM, id="bootstrap-token")
_FIRST_NAME = "first-admin"


class BootstrapService:
    """Makes the first administrator key, once."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        keys: KeyService,
        access: AccessService,
        token: Secret | None = None,
    ) -> None:
        self._units = units
        self._keys = keys
        self._access = access
        self._token = token

    def first_start(self, uow: Uow) -> Secret | None:
        """The key to print, or None when somebody administers already (BOOT-10).

        Also None when another process is making it at this very moment.
        """
        if self._token is not None or self._access.admins(uow):
            return None
        body = CreateAPIKey(name=_FIRST_NAME, role_ids=["r-admin"], no_expiry=True)
        try:
            view = self._keys.create(uow, body, source="bootstrap")
        except APIKeyNameTaken:
            return None
        uow.emit(FirstStart(resource_id=view.id, role_id="r-admin"))
        return Secret(view.key_value)

    def require_way_in(self, uow: Uow) -> None:
        """For a start that makes no key: somebody has to be able to sign in (08 GUARD-3).

        Raises:
            NoWayIn: Nobody is.
        """
        live = sa.select(api_keys.c.id).where(api_keys.c.revoked_at.is_(None)).limit(1)
        if self._token is None and uow.first(live) is None:
            raise NoWayIn

    def state(self, uow: Uow) -> BootstrapState:
        """Whether the token path is open."""
        return BootstrapState(available=self._is_open(uow))

    def consume(self, body: Bootstrap) -> BootstrapView:
        """Trade the token for the first administrator key, in one transaction (BOOT-3, BOOT-4).

        Raises:
            BootstrapClosed: No token is set, it was used, or an administrator exists.
            BadCredential: The token is wrong.
        """
        if self._token is None:
            raise BootstrapClosed
        with self._units.begin(_TOKEN_ACTOR) as uow:
            if not self._is_open(uow):
                raise BootstrapClosed
            if not hmac.compare_digest(body.token.encode(), self._token.reveal().encode()):
                raise BadCredential
            taken = uow.first(
                uow.insert(bootstrap_state)
                .values(id=1, consumed_at=uow.now)
                .on_conflict_do_nothing()
                .returning(bootstrap_state.c.id)
            )
            if taken is None:
                raise BootstrapClosed
            view = self._keys.create(
                uow,
                CreateAPIKey(name=body.actor_name, role_ids=["r-admin"], no_expiry=True),
                source="bootstrap",
            )
            uow.emit(
                BootstrapConsumed(
                    resource_id=view.id, actor_name=body.actor_name, role_id="r-admin"
                )
            )
        return BootstrapView(
            actor_id=view.id,
            api_key_id=view.id,
            key_value=view.key_value,
            created_at=view.created_at,
            message="Keep this key safe: it is not shown again.",
        )

    def _is_open(self, uow: Uow) -> bool:
        if self._token is None or self._access.admins(uow):
            return False
        return uow.scalar(sa.select(bootstrap_state.c.id)) is None
