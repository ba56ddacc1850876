"""Access decisions (05 §4): roles, scopes, expiry, and what may be handed out."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from certctl_core.app import Core
from certctl_core.kernel.actors import ANONYMOUS, SYSTEM, Actor, ActorType
from certctl_core.kernel.errors import CertctlError, Unauthenticated
from certctl_core.kernel.operations import NO_SCOPE, Access, Call, Resource
from certctl_core.people.access import CATALOGUE, PermissionDenied
from certctl_core.people.access.catalogue import PERMISSIONS, ROLES, permissions_of
from certctl_core.people.access.errors import BadScope, EscalationRefused, LastAdmin, RoleNotFound
from certctl_core.people.access.types import ScopeType
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock

COUNTS = {
    "r-admin": 97, "r-operator": 58, "r-viewer": 22, "r-agent": 6, "r-mcp": 34, "r-cli": 57,
    "r-auditor": 2,
}  # fmt: skip
ADMIN_ONLY = {"certificate.bulk_revoke", "crl.admin", "scep.admin", "est.admin"}


def user(actor_id: str) -> Actor:
    return Actor(type=ActorType.USER, id=actor_id, label=actor_id)


def grant(core: Core, actor: Actor, role_id: str, **how: object) -> None:
    with core.begin() as uow:
        core.rooms.access.grant(
            uow,
            actor_type=actor.type,
            actor_id=actor.id,
            role_id=role_id,
            **how,  # type: ignore[arg-type]
        )


def may(core: Core, actor: Actor, permission: str, resource: Resource = NO_SCOPE) -> bool:
    with core.units.read() as uow:
        try:
            core.rooms.access.require(uow, actor, permission, resource)
        except PermissionDenied:
            return False
        return True


@pytest.mark.spec("05/RBAC-2")
def test_the_catalogue_counts_as_the_specification_says() -> None:
    assert {role_id: len(permissions_of(role_id)) for role_id in ROLES} == COUNTS
    assert permissions_of("r-auditor") == {"audit.read", "audit.export"}
    assert {name for name, letters in PERMISSIONS.items() if not letters} >= ADMIN_ONLY


def test_every_role_may_exactly_what_is_listed(core: Core) -> None:
    for role_id in ROLES:
        actor = actor_with(core, role_id, actor_id=f"u-{role_id}")
        allowed = {name for name in CATALOGUE if may(core, actor, name)}
        assert allowed == permissions_of(role_id)
    nobody = user("u-nobody")
    assert not any(may(core, nobody, name) for name in CATALOGUE)
    assert all(may(core, SYSTEM, name) for name in CATALOGUE)


@pytest.mark.spec("05/RBAC-4")
def test_seeded_roles_follow_the_catalogue(core: Core) -> None:
    from certctl_core.people.access._tables import role_permissions

    with core.begin() as uow:
        uow.execute(role_permissions.delete().where(role_permissions.c.role_id == "r-viewer"))
        uow.execute(
            role_permissions.insert().values(
                role_id="r-auditor", permission="system.admin", scope_type="global", scope_id=""
            )
        )
    core.boot()

    roles = {row.id: row.permissions for row in core.call("auth.roles").data}
    assert roles == {role_id: sorted(permissions_of(role_id)) for role_id in ROLES}


class TestOperations:
    """The dispatcher asks before it does anything."""

    def test_each_operation_needs_its_permission(self, core: Core) -> None:
        nobody, auditor = user("u-nobody"), actor_with(core, "r-auditor", actor_id="u-audit")
        for operation in core.table:
            path = dict.fromkeys(_parameters(operation.path), "x-1")
            if operation.access is Access.PUBLIC:
                continue
            with pytest.raises(Unauthenticated):
                core.dispatcher._run(operation, _call(core, ANONYMOUS, path))
            if operation.permission is None:
                continue
            with pytest.raises(PermissionDenied) as caught:
                core.dispatcher._run(operation, _call(core, nobody, path))
            assert caught.value.public == {"permission": operation.permission}
            if operation.permission.startswith("audit."):
                continue
            with pytest.raises(PermissionDenied):
                core.dispatcher._run(operation, _call(core, auditor, path))

    def test_whoever_has_no_permission_cannot_tell_what_exists(self, core: Core) -> None:
        made = core.call("certificates.create", body={"common_name": "web.example.test"})
        for certificate_id in (made.id, "mc-none"):
            with pytest.raises(PermissionDenied):
                core.call(
                    "certificates.get",
                    actor=user("u-nobody"),
                    path={"certificate_id": certificate_id},
                )

    @pytest.mark.spec("05/RBAC-27")
    def test_me(self, core: Core) -> None:
        actor = actor_with(core, "r-auditor", actor_id="u-audit")
        admin = actor_with(core, "r-admin", actor_id="u-admin")

        me = core.call("auth.me", actor=actor)

        assert (me.actor_id, me.admin, me.roles) == ("u-audit", False, ["r-auditor"])
        assert {item.permission for item in me.effective_permissions} == {
            "audit.read",
            "audit.export",
        }
        assert core.call("auth.me", actor=admin).admin
        assert core.call("auth.me", actor=user("u-nobody")).effective_permissions == []


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _call(core: Core, actor: Actor, path: dict[str, str]) -> Call:
    return Call(actor=actor, request_id="r", now=core.clock.now(), path=path)


class TestGrants:
    @pytest.mark.spec("05/RBAC-12")
    def test_an_expired_one_gives_nothing_from_that_instant(
        self, core: Core, clock: FakeClock
    ) -> None:
        actor = user("u-guest")
        end = clock.now() + timedelta(hours=1)
        grant(core, actor, "r-viewer", expires_at=end)
        assert may(core, actor, "certificate.read")

        clock.set(end - timedelta(seconds=1))
        assert may(core, actor, "certificate.read")
        clock.set(end)
        assert not may(core, actor, "certificate.read")

    @pytest.mark.spec("05/RBAC-11")
    @pytest.mark.parametrize(
        ("given", "held", "result"),
        [
            ("", "", ("global", None)),
            ("", "prof-x", ("profile", "prof-x")),
            ("prof-x", "", ("profile", "prof-x")),
            ("prof-x", "prof-x", ("profile", "prof-x")),
            ("prof-x", "prof-y", None),
            ("prof-x", "iss-x", None),
        ],
    )
    def test_a_role_gives_what_grant_and_role_have_in_common(
        self, core: Core, given: str, held: str, result: tuple[str, str | None] | None
    ) -> None:
        from certctl_core.people.access._tables import role_permissions

        kinds = {"": ScopeType.GLOBAL, "p": ScopeType.PROFILE, "i": ScopeType.ISSUER}
        with core.begin() as uow:
            uow.execute(role_permissions.delete().where(role_permissions.c.role_id == "r-viewer"))
            uow.execute(
                role_permissions.insert().values(
                    role_id="r-viewer",
                    permission="certificate.read",
                    scope_type=kinds[held[:1]],
                    scope_id=held,
                )
            )
        core.call("profiles.create", body={"name": "x", "id": "prof-x"})
        actor = user("u-new")
        grant(core, actor, "r-viewer", scope_type=kinds[given[:1]], scope_id=given or None)

        effective = core.call("auth.me", actor=actor).effective_permissions

        found = [(item.scope_type, item.scope_id) for item in effective]
        assert found == ([result] if result else [])

    @pytest.mark.spec("05/RBAC-16", "05/RBAC-28")
    def test_a_change_counts_for_the_next_request(self, core: Core) -> None:
        actor = user("u-new")
        assert not may(core, actor, "certificate.read")
        grant(core, actor, "r-viewer")
        assert may(core, actor, "certificate.read")
        with core.begin() as uow:
            core.rooms.access.revoke_all(uow, actor_type=actor.type, actor_id=actor.id)
        assert not may(core, actor, "certificate.read")

    @pytest.mark.spec("05/RBAC-16")
    def test_another_process_sees_it_within_five_seconds(
        self, core: Core, clock: FakeClock
    ) -> None:
        actor = user("u-new")
        with Core.open(core.settings, clock=clock, migrate=False) as replica:
            assert not may(replica, actor, "certificate.read")
            grant(core, actor, "r-viewer")
            clock.advance(timedelta(seconds=5))
            assert may(replica, actor, "certificate.read")

    @pytest.mark.spec("05/RBAC-26")
    def test_what_is_refused(self, core: Core, clock: FakeClock) -> None:
        actor = user("u-new")
        past = clock.now() - timedelta(seconds=1)
        for error, how in (
            (RoleNotFound, {"role_id": "r-none"}),
            (BadScope, {"scope_id": "prof-x"}),
            (BadScope, {"scope_type": ScopeType.PROFILE}),
            (CertctlError, {"expires_at": past}),
        ):
            with pytest.raises(error):
                grant(core, actor, **{"role_id": "r-viewer", **how})  # type: ignore[arg-type]
        assert not may(core, actor, "certificate.read")

    def test_granting_twice_is_one_grant(self, core: Core) -> None:
        actor = user("u-new")
        grant(core, actor, "r-viewer")
        grant(core, actor, "r-viewer")

        with core.units.read() as uow:
            assert core.rooms.access.roles_of(uow, actor_type=actor.type, actor_id=actor.id) == [
                "r-viewer"
            ]
        audited = [item.action for item in core.call("audit.list").data]
        assert audited.count("auth.role.granted") == 1

    @pytest.mark.spec("05/RBAC-21")
    def test_nobody_hands_out_more_than_it_holds(self, core: Core) -> None:
        operator = actor_with(core, "r-operator", actor_id="u-op")
        scoped = user("u-scoped")
        grant(core, scoped, "r-admin", scope_type=ScopeType.PROFILE, scope_id="prof-default")

        for giver, role_id in ((operator, "r-admin"), (operator, "r-cli"), (scoped, "r-viewer")):
            with pytest.raises(EscalationRefused) as caught, core.begin(giver) as uow:
                core.rooms.access.grant(
                    uow, actor_type=ActorType.USER, actor_id="u-friend", role_id=role_id
                )
            assert caught.value.public["missing"]
        assert not may(core, user("u-friend"), "certificate.read")
        with core.begin(operator) as uow:
            core.rooms.access.grant(
                uow, actor_type=ActorType.USER, actor_id="u-friend", role_id="r-viewer"
            )
        assert may(core, user("u-friend"), "certificate.read")


class TestLastAdmin:
    """05 RBAC-22."""

    def drop(self, core: Core, actor: Actor) -> None:
        with core.begin() as uow:
            core.rooms.access.revoke_all(uow, actor_type=actor.type, actor_id=actor.id)

    @pytest.mark.spec("05/RBAC-22")
    def test_the_last_one_stays(self, core: Core, clock: FakeClock) -> None:
        first, second = (actor_with(core, "r-admin", actor_id=f"u-{n}") for n in (1, 2))
        scoped = user("u-scoped")
        grant(core, scoped, "r-admin", scope_type=ScopeType.ISSUER, scope_id="iss-local")
        self.drop(core, first)

        with pytest.raises(LastAdmin):
            self.drop(core, second)

        assert may(core, second, "system.admin")
        self.drop(core, scoped)
        guest = user("u-guest")
        grant(core, guest, "r-admin", expires_at=clock.now() + timedelta(hours=1))
        clock.advance(timedelta(hours=1))
        self.drop(core, guest)
        with pytest.raises(LastAdmin):
            self.drop(core, second)

    @pytest.mark.spec("05/RBAC-22")
    def test_two_who_drop_each_other(self, core: Core) -> None:
        admins = [actor_with(core, "r-admin", actor_id=f"u-{number}") for number in range(4)]
        outcomes: list[bool] = []

        def attempt(actor: Actor) -> None:
            try:
                self.drop(core, actor)
                outcomes.append(True)
            except LastAdmin:
                outcomes.append(False)

        threads = [threading.Thread(target=attempt, args=(actor,)) for actor in admins]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == [False, True, True, True]
        with core.units.read() as uow:
            assert core.rooms.access.admins(uow) == 1
