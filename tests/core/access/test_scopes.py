"""Grants for some objects only (05 RBAC-10 … RBAC-14), through the operations."""

from __future__ import annotations

import pytest

from certctl_core.app import Core
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.operations import Access
from certctl_core.people.access import PermissionDenied, ScopeNotFound
from certctl_core.people.access.types import ScopeType
from certctl_core.testing.factories import make_csr
from tests.core.certificates.support import create

UNLIMITED = {"issuer_types.list"}
"""Lists of kinds that a person has not made: no object is in them."""


@pytest.fixture
def limited(core: Core) -> Actor:
    """An operator of the profile ``prof-a`` only."""
    for name in ("a", "b"):
        core.call("profiles.create", body={"name": name, "id": f"prof-{name}"})
    return scoped(core, "u-limited", ScopeType.PROFILE, "prof-a")


def scoped(core: Core, actor_id: str, scope_type: ScopeType, scope_id: str) -> Actor:
    with core.begin() as uow:
        for role_id in ("r-operator", "r-admin"):
            core.rooms.access.grant(
                uow, actor_type=ActorType.USER, actor_id=actor_id, role_id=role_id,
                scope_type=scope_type, scope_id=scope_id,
            )  # fmt: skip
    return Actor(type=ActorType.USER, id=actor_id)


@pytest.mark.spec("05/RBAC-10")
@pytest.mark.parametrize(
    ("scope_type", "scope_id"),
    [
        (ScopeType.PROFILE, "prof-none"),
        (ScopeType.PROFILE, "iss-local"),
        (ScopeType.ISSUER, "iss-none"),
        (ScopeType.ISSUER, "prof-default"),
    ],
)
def test_a_scope_names_what_exists(core: Core, scope_type: ScopeType, scope_id: str) -> None:
    with pytest.raises(ScopeNotFound) as caught:
        scoped(core, "u-nobody", scope_type, scope_id)

    assert scope_id in caught.value.detail
    with core.units.read() as uow:
        held = core.rooms.access.roles_of(uow, actor_type=ActorType.USER, actor_id="u-nobody")
    assert held == []


@pytest.mark.spec("05/RBAC-10")
def test_what_is_deleted_takes_its_grants_along(core: Core, limited: Actor) -> None:
    core.call("profiles.delete", path={"profile_id": "prof-a"})

    with core.units.read() as uow:
        held = core.rooms.access.roles_of(uow, actor_type=ActorType.USER, actor_id=limited.id)
    assert held == []
    assert "auth.role.revoked" in [item.action for item in core.call("audit.list").data]
    core.call("profiles.create", body={"name": "new", "id": "prof-a"})
    with pytest.raises(PermissionDenied):
        core.call("profiles.list", actor=limited)


@pytest.mark.spec("05/RBAC-14", "01/RBAC-01")
def test_lists_show_and_count_what_is_in_scope(core: Core, limited: Actor) -> None:
    mine = create(core, "mine.test", certificate_profile_id="prof-a")
    create(core, "theirs.test", certificate_profile_id="prof-b")
    create(core, "plain.test")

    page = core.call("certificates.list", actor=limited)

    assert ([row.id for row in page.data], page.total) == ([mine.id], 1)
    assert [row.id for row in core.call("profiles.list", actor=limited).data] == ["prof-a"]
    assert core.call("issuer_orders.list", actor=limited).total == 0


@pytest.mark.spec("05/RBAC-14")
def test_every_other_list_is_empty_or_refused(core: Core, limited: Actor) -> None:
    """A permission for one profile opens no list of objects that have nothing to do with it."""
    core.issue(make_csr("theirs.test"), certificate_profile_id="prof-b")
    core.rooms.renewal.set_key_holders(lambda _uow, _id: ["ag-one"])
    theirs = create(core, "wait.test", certificate_profile_id="prof-b")
    core.call("certificates.renew", path={"certificate_id": theirs.id})
    core.call("api_keys.create", body={"name": "key", "no_expiry": True})
    seen = {}
    for operation in core.table:
        if not operation.is_list or operation.access is not Access.GATED or "{" in operation.path:
            continue
        try:
            page = core.call(operation.name, actor=limited)
        except PermissionDenied:
            continue
        ids = {getattr(row, "resource_id", getattr(row, "id", None)) for row in page.data}
        if ids - {"prof-a"} and operation.name not in UNLIMITED:
            seen[operation.name] = page.data
    assert seen == {}


@pytest.mark.spec("05/RBAC-13", "01/RBAC-01")
def test_acts_need_an_object_in_scope(core: Core, limited: Actor) -> None:
    mine = create(core, "mine.test", certificate_profile_id="prof-a")
    theirs = create(core, "theirs.test", certificate_profile_id="prof-b")
    acts = {
        "certificates.get": {},
        "certificates.versions": {},
        "certificates.targets": {},
        "certificates.deployments": {},
        "certificates.update": {"body": {"environment": "x"}},
        "certificates.renew": {"body": {"csr_pem": make_csr("mine.test")}},
        "certificates.details": {},
        "certificates.download": {},
        "certificates.revoke": {"body": {}},
        "certificates.archive": {},
    }
    for name, arguments in acts.items():
        path = {"certificate_id": theirs.id}
        with pytest.raises(PermissionDenied):
            core.call(name, actor=limited, path=path, **arguments)  # type: ignore[arg-type]
        path = {"certificate_id": mine.id}
        core.call(name, actor=limited, path=path, **arguments)  # type: ignore[arg-type]


@pytest.mark.spec("05/RBAC-14")
def test_create_checks_the_target(core: Core, limited: Actor) -> None:
    def attempt(**body: object) -> None:
        core.call("certificates.create", actor=limited, body={"common_name": "x.test", **body})

    attempt(certificate_profile_id="prof-a")
    for body in ({}, {"certificate_profile_id": "prof-b"}, {"issuer_id": "iss-local"}):
        with pytest.raises(PermissionDenied):
            attempt(**body)
    assert core.call("certificates.list").total == 1


@pytest.mark.spec("05/RBAC-14")
def test_nothing_is_moved_out_of_scope(core: Core, limited: Actor) -> None:
    mine = create(core, "mine.test", certificate_profile_id="prof-a")
    path = {"certificate_id": mine.id}

    for body in ({"certificate_profile_id": "prof-b"}, {"certificate_profile_id": None}):
        with pytest.raises(PermissionDenied):
            core.call("certificates.update", actor=limited, path=path, body=body)
    with pytest.raises(PermissionDenied):
        core.call(
            "certificates.replace", actor=limited, path=path, body={"common_name": "mine.test"}
        )
    assert core.call("certificates.get", path=path).certificate_profile_id == "prof-a"


@pytest.mark.spec("05/RBAC-13", "01/RBAC-01")
def test_an_issuer_scope_covers_its_certificates(core: Core) -> None:
    actor = scoped(core, "u-ca", ScopeType.ISSUER, "iss-local")
    other = core.call("issuers.create", body={"name": "Other", "kind": "local"}).id
    stranger = scoped(core, "u-other", ScopeType.ISSUER, other)
    issued = core.issue(make_csr("web.test"))
    path = {"certificate_id": issued.certificate.id}

    assert core.call("certificates.list", actor=actor).total == 1
    assert core.call("certificates.list", actor=stranger).total == 0
    order = {"order_id": str(issued.version.order_id)}
    assert core.call("issuer_orders.get", actor=actor, path=order).state == "issued"
    with pytest.raises(PermissionDenied):
        core.call("issuer_orders.get", actor=stranger, path=order)
    assert core.call("issuer_orders.list", actor=stranger).total == 0
    with pytest.raises(PermissionDenied):
        core.call("certificates.revoke", actor=stranger, path=path)
    core.call("certificates.revoke", actor=actor, path=path)
    assert core.call("crl.regenerate", actor=actor, path={"issuer_id": "iss-local"})
    with pytest.raises(PermissionDenied):
        core.call("crl.regenerate", actor=stranger, path={"issuer_id": "iss-local"})
    with pytest.raises(PermissionDenied):
        core.call("crl.state", actor=actor)
