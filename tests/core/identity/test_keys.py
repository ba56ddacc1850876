"""API keys (05 §3): made once, kept as a hash, rotated with an overlap, gone at once."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from certctl_core.app import Core
from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Secret
from certctl_core.people.access import PermissionDenied
from certctl_core.people.access.errors import EscalationRefused, LastAdmin
from certctl_core.people.identity import ConfiguredKey
from certctl_core.people.identity._tables import api_keys
from certctl_core.people.identity.errors import BadCredential
from certctl_core.people.identity.keys import hash_key
from certctl_core.people.identity.schemas import NewAPIKeyView
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock


def make(core: Core, name: str = "key", **body: object) -> NewAPIKeyView:
    if "expires_at" not in body:
        body["no_expiry"] = True
    view: NewAPIKeyView = core.call("api_keys.create", body={"name": name, **body})
    return view


def works(core: Core, value: str) -> bool:
    try:
        core.keys.authenticate(value)
    except BadCredential:
        return False
    return True


@pytest.mark.spec("05/KEY-2", "05/KEY-3")
def test_a_key_is_shown_once_and_authenticates(core: Core, clock: FakeClock) -> None:
    made = make(core, role_ids=["r-operator", "r-auditor"])

    assert re.fullmatch(r"ctl_[0-9a-f]{4}_[0-9a-f]{64}", made.key_value)
    actor = core.keys.authenticate(made.key_value)
    assert (actor.type, actor.id, actor.label) == (ActorType.API_KEY, made.id, "key")
    assert core.call("certificates.list", actor=actor).total == 0
    row = core.call("api_keys.list").data[0]
    assert row.roles == ["r-auditor", "r-operator"]
    assert not hasattr(row, "key_value")
    with core.units.read() as uow:
        stored = uow.execute(sa.select(api_keys)).one()
    assert stored.key_hash == hash_key(made.key_value)
    assert made.key_value not in str(stored)
    clock.advance(timedelta(minutes=1))
    core.keys.authenticate(made.key_value)
    assert core.call("api_keys.list").data[0].last_used_at == clock.now()


@pytest.mark.spec("05/KEY-1")
def test_every_bad_key_looks_the_same(core: Core, clock: FakeClock) -> None:
    expired = make(core, "old", expires_at=clock.now() + timedelta(minutes=1)).key_value
    revoked = make(core, "gone")
    core.call("api_keys.revoke", path={"key_id": revoked.id})
    clock.advance(timedelta(minutes=1))

    texts = set()
    for value in (expired, revoked.key_value, "", "ctl_", "x" * 10_000, "schlüssel", "ctl_\x00"):
        with pytest.raises(BadCredential) as caught:
            core.keys.authenticate(value)
        texts.add(caught.value.detail)
    assert len(texts) == 1


@pytest.mark.spec("05/KEY-4")
def test_expiry_is_exact_also_from_memory(core: Core, clock: FakeClock) -> None:
    end = clock.now() + timedelta(seconds=3)
    made = make(core, role_ids=["r-admin"], expires_at=end)
    assert works(core, made.key_value)
    clock.set(end - timedelta(microseconds=1))
    assert works(core, made.key_value)
    clock.set(end)
    assert not works(core, made.key_value)
    with core.units.read() as uow:
        assert core.rooms.access.admins(uow) == 0, "its grants end with it"


@pytest.mark.spec("05/KEY-9")
def test_rotation_overlaps(core: Core, clock: FakeClock) -> None:
    made = make(core)
    path = {"key_id": made.id}

    second = core.call("api_keys.rotate", path=path, body={"overlap_seconds": 60})
    assert works(core, made.key_value)
    assert works(core, second.key_value)
    assert core.keys.authenticate(made.key_value).id == made.id
    clock.advance(timedelta(seconds=60))
    assert not works(core, made.key_value)
    assert works(core, second.key_value)
    third = core.call("api_keys.rotate", path=path, body={"overlap_seconds": 0})
    assert not works(core, second.key_value)
    assert works(core, third.key_value)
    default = core.call("api_keys.rotate", path=path)
    clock.advance(timedelta(hours=23))
    assert works(core, third.key_value)
    assert works(core, default.key_value)
    assert "auth.key.rotated" in [item.action for item in core.call("audit.list").data]


@pytest.mark.spec("05/RBAC-21")
def test_rotating_a_stronger_key_is_refused(core: Core) -> None:
    admin, viewer = make(core, "admin", role_ids=["r-admin"]), make(core, "viewer")
    actor = actor_with(core, "r-cli", actor_id="u-cli")

    with pytest.raises(EscalationRefused) as caught:
        core.call("api_keys.rotate", actor=actor, path={"key_id": admin.id})
    with pytest.raises(EscalationRefused):
        core.call(
            "api_keys.create",
            actor=actor,
            body={"name": "x", "role_ids": ["r-admin"], "no_expiry": True},
        )

    assert "system.admin" in caught.value.public["missing"]  # type: ignore[operator]
    assert works(core, admin.key_value)
    assert core.call("api_keys.list").total == 2
    core.call("api_keys.rotate", actor=actor, path={"key_id": viewer.id})
    own = core.keys.authenticate(make(core, "own", role_ids=["r-cli"]).key_value)
    core.call("api_keys.rotate", actor=own, path={"key_id": own.id})


def test_revoking(core: Core) -> None:
    made, other = make(core, role_ids=["r-admin"]), make(core, "other", role_ids=["r-admin"])
    actor = core.keys.authenticate(made.key_value)
    path = {"key_id": made.id}

    core.call("api_keys.revoke", path=path)

    assert not works(core, made.key_value)
    with pytest.raises(PermissionDenied):
        core.call("certificates.list", actor=actor)
    with pytest.raises(LastAdmin):
        core.call("api_keys.revoke", path={"key_id": other.id})
    assert works(core, other.key_value)
    for key_id in (made.id, "ak-none"):
        with pytest.raises(CertctlError) as caught:
            core.call("api_keys.revoke", path={"key_id": key_id})
        assert caught.value.code == "api_key_not_found"
    assert [row.name for row in core.call("api_keys.list").data] == ["other"]
    assert core.call("api_keys.list", query={"include_revoked": True}).total == 2
    make(core)  # the name is free again


@pytest.mark.spec("05/KEY-5")
def test_another_process_forgets_a_revoked_key(core: Core, clock: FakeClock) -> None:
    made = make(core)
    with Core.open(core.settings, clock=clock, migrate=False) as replica:
        assert works(replica, made.key_value)
        core.call("api_keys.revoke", path={"key_id": made.id})
        clock.advance(timedelta(seconds=5))
        assert not works(replica, made.key_value)
        assert works(replica, make(core, "minted-later").key_value)


def test_a_revocation_wins_over_a_lookup_under_way(core: Core) -> None:
    """What was read before a change is not remembered after it."""
    for number in range(10):
        made = make(core, f"k{number}")
        core.keys.drop_cache()
        thread = threading.Thread(target=works, args=(core, made.key_value))
        thread.start()
        core.call("api_keys.revoke", path={"key_id": made.id})
        thread.join()
        assert not works(core, made.key_value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "k"}, "expiry_required"),
        ({"name": "k", "no_expiry": True, "expires_at": "2027-01-01T00:00:00Z"}, "expiry_required"),
        ({"name": "k", "expires_at": "2020-01-01T00:00:00Z"}, "validation_error"),
        ({"name": "k", "expires_at": "2027-01-01T00:00:00"}, "validation_error"),
        ({"name": "a b", "no_expiry": True}, "validation_error"),
        ({"name": "taken", "no_expiry": True}, "api_key_name_taken"),
        ({"name": "k", "no_expiry": True, "role_ids": ["r-none"]}, "role_not_found"),
        ({"name": "k", "no_expiry": True, "role_ids": []}, "validation_error"),
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_cannot_be_made(core: Core, body: dict[str, object], code: str) -> None:
    make(core, "taken")

    with pytest.raises(CertctlError) as caught:
        core.call("api_keys.create", body=body)

    assert caught.value.code == code
    assert core.call("api_keys.list").total == 1


class TestConfigured:
    """05 KEY-6, KEY-7: the settings are the truth at each start."""

    def apply(self, core: Core, *keys: tuple[str, str, str]) -> None:
        with core.begin() as uow:
            core.keys.apply_configured(
                uow,
                [ConfiguredKey(name=n, key=Secret(value), role_id=role) for n, value, role in keys],
            )

    def roles(self, core: Core, value: str) -> list[str]:
        roles: list[str] = core.call("auth.me", actor=core.keys.authenticate(value)).roles
        return roles

    @pytest.mark.spec("05/KEY-6")
    def test_applied_again_they_are_the_same(self, core: Core) -> None:
        for _ in range(2):
            self.apply(core, ("ci", "value-one", "r-operator"))
        row = core.call("api_keys.list").data[0]
        assert (row.name, row.source, row.roles) == ("ci", "config", ["r-operator"])
        assert self.roles(core, "value-one") == ["r-operator"]
        audited = [item.action for item in core.call("audit.list").data]
        assert audited.count("auth.key.created") == 1
        assert audited.count("auth.role.granted") == 1

    @pytest.mark.spec("05/KEY-6")
    def test_another_role_replaces_the_old_one(self, core: Core) -> None:
        self.apply(core, ("ci", "value-one", "r-admin"))
        assert self.roles(core, "value-one") == ["r-admin"]

        self.apply(core, ("ci", "value-one", "r-viewer"))

        assert self.roles(core, "value-one") == ["r-viewer"]

    @pytest.mark.spec("05/KEY-7")
    def test_two_values_overlap(self, core: Core) -> None:
        self.apply(core, ("ci", "value-one", "r-viewer"))
        self.apply(core, ("ci", "value-two", "r-viewer"), ("ci", "value-one", "r-viewer"))
        first, second = (core.keys.authenticate(v) for v in ("value-one", "value-two"))
        assert first.id == second.id

        self.apply(core, ("ci", "value-two", "r-viewer"))

        assert not works(core, "value-one")
        assert works(core, "value-two")

    def test_one_that_is_taken_out_is_gone_with_its_rights(self, core: Core) -> None:
        self.apply(core, ("ci", "value-one", "r-admin"))
        self.apply(core)

        assert not works(core, "value-one")
        with core.units.read() as uow:
            assert core.rooms.access.admins(uow) == 0
        self.apply(core, ("ci", "value-one", "r-viewer"))
        assert self.roles(core, "value-one") == ["r-viewer"]
