"""Access decisions: may this actor do this to that object?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import Uow, paginate
from certctl_core.kernel.errors import FieldError, Invalid
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.operations import NO_SCOPE, Page, Resource, covers
from certctl_core.people.access import catalogue
from certctl_core.people.access._tables import grants, role_permissions, roles
from certctl_core.people.access.errors import (
    BadScope,
    EscalationRefused,
    LastAdmin,
    PermissionDenied,
    RoleNotFound,
    ScopeNotFound,
)
from certctl_core.people.access.events import RoleGranted, RoleRevoked
from certctl_core.people.access.rules import intersect
from certctl_core.people.access.schemas import EffectiveView, MeView, RoleQuery, RoleView
from certctl_core.people.access.types import Effective, ScopeType
from certctl_core.values import dataclass

_CACHE_SECONDS = 5.0
"""No decision is older than this on any replica (spec 05 RBAC-16)."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What an actor holds, as read at one moment."""

    by_permission: Mapping[str, tuple[Effective, ...]]
    role_ids: tuple[str, ...]
    until: float
    expires: datetime | None


class AccessService:
    """Roles, grants and decisions."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._cache: dict[tuple[str, str], _Held] = {}
        self._scopes: dict[ScopeType, Callable[[Uow, str], bool]] = {}

    def add_scope(self, scope_type: ScopeType, exists: Callable[[Uow, str], bool]) -> None:
        """A higher room tells whether an object exists that a grant can be limited to."""
        self._scopes[scope_type] = exists

    def drop_cache(self) -> None:
        """Forget every decision (topic ``access``)."""
        self._cache = {}

    def scopes(self, uow: Uow, actor: Actor, permission: str) -> list[Resource] | None:
        """Where the actor holds the permission: None for everywhere, else the resources.

        Raises:
            PermissionDenied: It does not hold it anywhere.
        """
        if actor.type is ActorType.SYSTEM:
            return None
        entries = self._held(uow, actor).by_permission.get(permission, ())
        if not entries:
            raise PermissionDenied(permission=permission)
        if any(entry.scope_type is ScopeType.GLOBAL for entry in entries):
            return None
        return [
            Resource(profile_id=entry.scope_id)
            if entry.scope_type is ScopeType.PROFILE
            else Resource(issuer_id=entry.scope_id)
            for entry in entries
        ]

    def require(
        self, uow: Uow, actor: Actor, permission: str, resource: Resource = NO_SCOPE
    ) -> None:
        """Do nothing if the actor may; the object's scopes are in ``resource``.

        Raises:
            PermissionDenied: It may not.
        """
        if not covers(self.scopes(uow, actor, permission), resource):
            raise PermissionDenied(permission=permission)

    def may(self, uow: Uow, actor: Actor, permission: str) -> bool:
        """Whether the actor holds the permission anywhere (for hiding buttons)."""
        try:
            self.scopes(uow, actor, permission)
        except PermissionDenied:
            return False
        return True

    def me(self, uow: Uow, actor: Actor) -> MeView:
        """The caller's own view of itself."""
        held = self._held(uow, actor)
        return MeView(
            actor_id=actor.id,
            actor_type=actor.type,
            label=actor.label,
            admin=self._is_admin(held),
            roles=list(held.role_ids),
            effective_permissions=[
                EffectiveView(
                    permission=entry.permission,
                    scope_type=entry.scope_type,
                    scope_id=entry.scope_id,
                )
                for _, entries in sorted(held.by_permission.items())
                for entry in entries
            ],
            session_id=actor.session_id,
        )

    def grant(
        self,
        uow: Uow,
        *,
        actor_type: ActorType,
        actor_id: str,
        role_id: str,
        scope_type: ScopeType = ScopeType.GLOBAL,
        scope_id: str | None = None,
        expires_at: datetime | None = None,
        source: str = "local",
        reason: str = "",
    ) -> str | None:
        """Give an actor a role; idempotent. Emits ``auth.role.granted``.

        Returns:
            The grant's id, or None when it existed.

        Raises:
            RoleNotFound, BadScope, ScopeNotFound: As named.
            Invalid: The end is in the past.
            EscalationRefused: The calling actor does not hold what it would hand out.
        """
        if (scope_type is ScopeType.GLOBAL) != (scope_id is None):
            raise BadScope
        exists = self._scopes.get(scope_type)
        if scope_id is not None and exists is not None and not exists(uow, scope_id):
            raise ScopeNotFound(scope_type=scope_type.value, scope_id=scope_id)
        if expires_at is not None and expires_at <= uow.now:
            raise Invalid(fields=[FieldError(field="expires_at", message="is in the past")])
        if uow.scalar(sa.select(roles.c.id).where(roles.c.id == role_id)) is None:
            raise RoleNotFound(role_id=role_id)
        self._refuse_escalation(uow, role_id)
        grant_id = uow.new_id(Prefix.GRANT)
        row = uow.first(
            uow.insert(grants)
            .values(
                id=grant_id,
                actor_type=actor_type,
                actor_id=actor_id,
                role_id=role_id,
                scope_type=scope_type,
                scope_id=scope_id or "",
                source=source,
                reason=reason,
                granted_by=uow.actor.id,
                granted_at=uow.now,
                expires_at=expires_at,
            )
            .on_conflict_do_nothing()
            .returning(grants.c.id)
        )
        if row is None:
            return None
        uow.emit(
            RoleGranted(
                resource_id=grant_id,
                actor_type=actor_type,
                actor_id=actor_id,
                role_id=role_id,
                scope_type=scope_type,
                scope_id=scope_id,
                source=source,
            )
        )
        self._changed(uow)
        return grant_id

    def revoke_all(self, uow: Uow, *, actor_type: ActorType, actor_id: str) -> None:
        """Take every role from an actor. Emits ``auth.role.revoked`` per grant.

        Raises:
            LastAdmin: It is the last global administrator.
        """
        mine = sa.and_(grants.c.actor_type == actor_type, grants.c.actor_id == actor_id)
        self._lock_admins(uow)
        found = uow.execute(sa.select(grants).where(mine)).all()
        if uow.first(sa.select(grants.c.id).where(mine, _is_admin_at(uow.now)).limit(1)) and not (
            self.admins(uow, besides=actor_id)
        ):
            raise LastAdmin
        self._drop(uow, found)

    def drop_grants(
        self,
        uow: Uow,
        *,
        actor_type: ActorType,
        actor_id: str,
        source: str,
        besides: str | None = None,
    ) -> None:
        """Take the grants of one source from an actor, except those of the role ``besides``.

        For what follows the settings: it may leave the installation without an administrator.
        """
        g = grants.c
        which = sa.select(grants).where(
            g.actor_type == actor_type, g.actor_id == actor_id, g.source == source
        )
        if besides is not None:
            which = which.where(g.role_id != besides)
        self._drop(uow, uow.execute(which).all())

    def drop_scope(self, uow: Uow, scope_type: ScopeType, scope_id: str) -> None:
        """Take every grant that is limited to an object, which is deleted (05 RBAC-10)."""
        g = grants.c
        which = sa.select(grants).where(g.scope_type == scope_type, g.scope_id == scope_id)
        self._drop(uow, uow.execute(which).all())

    def require_containment(self, uow: Uow, *, actor_type: ActorType, actor_id: str) -> None:
        """The caller holds whatever that actor holds (05 RBAC-21: a new value of its key is it).

        Raises:
            EscalationRefused: The caller does not.
        """
        if uow.actor.type is ActorType.SYSTEM:
            return
        mine = self._held(uow, uow.actor).by_permission
        theirs = self._read(uow, Actor(type=actor_type, id=actor_id), 0.0).by_permission
        missing = sorted(
            permission
            for permission, entries in theirs.items()
            if not all(_contains(mine.get(permission, ()), entry) for entry in entries)
        )
        if missing:
            raise EscalationRefused(missing=missing)

    def _lock_admins(self, uow: Uow) -> None:
        """Let nobody else take an administrator away until this transaction ends."""
        if uow.is_postgres:
            uow.execute(
                sa.select(grants.c.id)
                .where(grants.c.role_id == "r-admin")
                .order_by(grants.c.id)
                .with_for_update()
            )

    def _drop(self, uow: Uow, found: Sequence[Row[Any]]) -> None:
        if not found:
            return
        uow.execute(sa.delete(grants).where(grants.c.id.in_([row.id for row in found])))
        for row in found:
            uow.emit(
                RoleRevoked(
                    resource_id=row.id,
                    actor_type=row.actor_type,
                    actor_id=row.actor_id,
                    role_id=row.role_id,
                )
            )
        self._changed(uow)

    def admins(self, uow: Uow, *, besides: str = "") -> int:
        """How many actors hold ``r-admin`` globally right now."""
        return int(
            uow.scalar(
                sa.select(sa.func.count(sa.distinct(grants.c.actor_id))).where(
                    grants.c.actor_id != besides, _is_admin_at(uow.now)
                )
            )
        )

    def roles_of(self, uow: Uow, *, actor_type: ActorType, actor_id: str) -> list[str]:
        """The role ids that an actor holds."""
        return list(
            uow.execute(
                sa.select(grants.c.role_id)
                .where(grants.c.actor_type == actor_type, grants.c.actor_id == actor_id)
                .order_by(grants.c.role_id)
            ).scalars()
        )

    def role_page(self, uow: Uow, query: RoleQuery) -> Page[RoleView]:
        """A page of roles with their permissions."""
        permissions: dict[str, list[str]] = {}
        for row in uow.execute(sa.select(role_permissions)):
            permissions.setdefault(row.role_id, []).append(row.permission)

        def view(row: Any) -> RoleView:
            members = row._asdict() | {"permissions": sorted(permissions.get(row.id, []))}
            return RoleView.model_validate(members)

        return paginate(
            uow,
            sa.select(roles),
            query=query,
            sorts={"created_at": roles.c.created_at, "name": roles.c.name},
            id_column=roles.c.id,
            view=view,
            default="name",
        )

    def sync_system_roles(self, uow: Uow) -> None:
        """Make the seeded roles equal to the catalogue (idempotent, at start)."""
        stored = {
            (row.role_id, row.permission)
            for row in uow.execute(
                sa.select(role_permissions.c.role_id, role_permissions.c.permission)
                .join(roles, roles.c.id == role_permissions.c.role_id)
                .where(roles.c.is_system.is_(True))
            )
        }
        wanted = {
            (role_id, permission)
            for role_id in catalogue.ROLES
            for permission in catalogue.permissions_of(role_id)
        }
        if stored == wanted:
            return
        uow.execute(
            uow.insert(roles)
            .values(
                [
                    {
                        "id": role_id,
                        "name": name,
                        "description": description,
                        "is_system": True,
                        "created_at": uow.now,
                        "updated_at": uow.now,
                    }
                    for role_id, (name, description) in catalogue.ROLES.items()
                ]
            )
            .on_conflict_do_nothing()
        )
        for role_id, permission in sorted(stored - wanted):
            uow.execute(
                sa.delete(role_permissions).where(
                    role_permissions.c.role_id == role_id,
                    role_permissions.c.permission == permission,
                )
            )
        added = [
            {
                "role_id": role_id,
                "permission": permission,
                "scope_type": ScopeType.GLOBAL,
                "scope_id": "",
            }
            for role_id, permission in sorted(wanted - stored)
        ]
        if added:  # row by row: one statement of them all takes longer to compile than to run
            uow.execute(uow.insert(role_permissions).on_conflict_do_nothing(), added)
        self._changed(uow)

    def _refuse_escalation(self, uow: Uow, role_id: str) -> None:
        if uow.actor.type is ActorType.SYSTEM:
            return
        held = self._held(uow, uow.actor).by_permission
        conferred = set(
            uow.execute(
                sa.select(role_permissions.c.permission).where(
                    role_permissions.c.role_id == role_id
                )
            ).scalars()
        )
        missing = sorted(
            permission
            for permission in conferred
            if not any(e.scope_type is ScopeType.GLOBAL for e in held.get(permission, ()))
        )
        if missing:
            raise EscalationRefused(missing=missing)

    def _is_admin(self, held: _Held) -> bool:
        return all(
            any(entry.scope_type is ScopeType.GLOBAL for entry in held.by_permission.get(name, ()))
            for name in catalogue.CATALOGUE
        )

    def _held(self, uow: Uow, actor: Actor) -> _Held:
        key = (actor.type.value, actor.id)
        now = self._clock.monotonic()
        held = self._cache.get(key)
        if (
            held is not None
            and held.until > now
            and (held.expires is None or held.expires > uow.now)
        ):
            return held
        cache = self._cache
        held = self._read(uow, actor, now + _CACHE_SECONDS)
        cache[key] = held
        return held

    def _read(self, uow: Uow, actor: Actor, until: float) -> _Held:
        if actor.type is ActorType.SYSTEM:
            everywhere = {
                name: (Effective(permission=name, scope_type=ScopeType.GLOBAL),)
                for name in catalogue.CATALOGUE
            }
            return _Held(everywhere, (), until, None)
        rows = uow.execute(
            sa.select(
                grants.c.role_id,
                grants.c.scope_type,
                grants.c.scope_id,
                grants.c.expires_at,
                role_permissions.c.permission,
                role_permissions.c.scope_type.label("role_scope_type"),
                role_permissions.c.scope_id.label("role_scope_id"),
            )
            .join(role_permissions, role_permissions.c.role_id == grants.c.role_id)
            .where(
                grants.c.actor_type == actor.type,
                grants.c.actor_id == actor.id,
                sa.or_(grants.c.expires_at.is_(None), grants.c.expires_at > uow.now),
            )
        ).all()
        found: dict[str, set[Effective]] = {}
        for row in rows:
            entry = intersect(
                row.permission,
                (ScopeType(row.scope_type), row.scope_id),
                (ScopeType(row.role_scope_type), row.role_scope_id),
            )
            if entry is not None:
                found.setdefault(row.permission, set()).add(entry)
        ends = [row.expires_at for row in rows if row.expires_at is not None]
        return _Held(
            {name: tuple(entries) for name, entries in found.items()},
            tuple(sorted({row.role_id for row in rows})),
            until,
            min(ends) if ends else None,
        )

    def _changed(self, uow: Uow) -> None:
        uow.touch("roles")
        uow.wake("access")
        uow.after_commit(self.drop_cache)


def _is_admin_at(moment: datetime) -> sa.ColumnElement[bool]:
    """A grant that makes its actor a global administrator at that moment."""
    g = grants.c
    return sa.and_(
        g.role_id == "r-admin",
        g.scope_type == ScopeType.GLOBAL,
        sa.or_(g.expires_at.is_(None), g.expires_at > moment),
    )


def _contains(held: Iterable[Effective], wanted: Effective) -> bool:
    return any(entry.scope_type is ScopeType.GLOBAL or entry == wanted for entry in held)
