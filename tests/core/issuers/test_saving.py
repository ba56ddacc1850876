"""Creating, changing and deleting issuers (06 §3)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from certctl_core.contracts.options import ConfigInvalid, SecretNeedsReentry
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import Forbidden, Invalid
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.issuers import (
    ConnectionTestFailed,
    IssuerCannotStart,
    IssuerChanged,
    IssuerHealth,
    IssuerIdTaken,
    IssuerInUse,
    IssuerKindUnavailable,
    IssuerManagedElsewhere,
    IssuerNameTaken,
    IssuerNotFound,
    IssuerState,
    TestStatus,
    UnknownIssuerKind,
)

if TYPE_CHECKING:
    from tests.core.issuers.conftest import Room

HOUR = timedelta(hours=1)
SET = {"set": True, "updated_at": "2026-01-15T12:00:00Z"}


def stored(room: Room, column: str, issuer_id: str = "iss-widgets") -> Any:
    with room.units.read() as uow:
        text = sa.text(f"SELECT {column} FROM issuers WHERE id = :id")  # noqa: S608 - a constant
        value = uow.execute(text, {"id": issuer_id}).scalar()
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


class TestCreate:
    def test_is_listed_shown_and_audited_once(self, room: Room) -> None:
        view = room.create()
        assert view.id == "iss-widgets"
        assert (view.version, view.state, view.health) == (1, IssuerState.READY, "unknown")
        assert view.created_by == "ak-admin"
        assert view.capabilities == ["CA_CHAIN", "TTL"]
        assert room.call("issuers.get", "iss-widgets") == view
        assert [row.id for row in room.call("issuers.list").data] == ["iss-widgets"]
        assert room.tags() == ["issuer.created"]
        assert "first-secret" not in repr(room.events)

    @pytest.mark.spec("06/SEC-1", "06/SEC-2", "06/CFG-6", "01/ISS-02")
    def test_secrets_are_sealed_in_place_and_never_shown(self, room: Room) -> None:
        view = room.create()
        assert view.config["api_key"] == SET
        assert view.config["second_key"] is None
        assert view.config["base_url"] == "https://ca.example.com/api"
        assert "first-secret" not in json.dumps(stored(room, "config"))
        envelope = stored(room, "secrets")["api_key"]
        assert envelope.startswith("v1.k1.")
        assert "first-secret" not in envelope

    @pytest.mark.spec("06/SEC-2")
    def test_an_envelope_moved_to_another_row_does_not_open(self, room: Room) -> None:
        room.create()
        room.create(id="iss-other", name="Other")
        with room.units.begin() as uow:
            move = sa.text(
                "UPDATE issuers SET secrets = (SELECT secrets FROM issuers"
                " WHERE id = 'iss-widgets'), revision = 2 WHERE id = 'iss-other'"
            )
            uow.execute(move)
        other = room.another()
        assert other.call("issuers.test", "iss-other").ok is False
        view = other.call("issuers.get", "iss-other")
        assert view.state is IssuerState.UNAVAILABLE
        assert "cannot decrypt (key id k1)" in view.state_reason

    def test_an_id_is_made_from_the_name(self, room: Room) -> None:
        view = room.create(id=None, name="Our Widgets (test)")
        assert view.id.startswith("iss-our-widgets-test-")

    @pytest.mark.spec("06/PLG-3", "01/ISS-01")
    def test_an_alias_becomes_the_canonical_kind(self, room: Room) -> None:
        assert room.create(kind="ACMEWidgets").kind == "widgets"
        assert room.call("issuers.list", query={"kind": "acmewidgets"}).total == 1

    @pytest.mark.spec("01/ISS-06")
    def test_a_disabled_issuer_can_be_created(self, room: Room) -> None:
        view = room.create(enabled=False)
        assert (view.enabled, view.state) == (False, IssuerState.DISABLED)

    @pytest.mark.spec("01/ISS-03")
    @pytest.mark.parametrize(
        ("changes", "error", "field"),
        [
            ({"kind": "nothing"}, UnknownIssuerKind, None),
            ({"kind": "missing", "config": {}}, IssuerKindUnavailable, None),
            ({"id": "a/b"}, Invalid, "id"),
            ({"config": {"base_url": "https://ca.example.com"}}, ConfigInvalid, "config.api_key"),
            ({"config": {"base_url": "http://x.example.com", "api_key": "k"}}, ConfigInvalid,
             "config.base_url"),
            ({"config": {"base_url": "https://x.example.com", "api_key": "k", "extra": 1}},
             ConfigInvalid, "config.extra"),
            ({"config": {"base_url": "https://x.example.com", "api_key": "k",
                         "product": "unknown"}}, ConfigInvalid, "config"),
            ({"config": {"base_url": "https://x.example.com", "api_key": "k",
                         "product": "refused"}}, IssuerCannotStart, None),
        ],
        ids=["kind_unknown", "kind_unavailable", "id_malformed", "secret_missing", "url_plain",
             "field_unknown", "fields_at_odds", "class_refuses"],
    )  # fmt: skip
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_refusals_save_nothing(
        self, room: Room, changes: dict[str, Any], error: type[Exception], field: str | None
    ) -> None:
        with pytest.raises(error) as caught:
            room.create(**changes)
        if field is not None:
            assert [item.field for item in caught.value.fields] == [field]  # type: ignore[attr-defined]
        assert room.call("issuers.list").total == 0
        assert room.tags() == []

    def test_names_and_ids_are_unique(self, room: Room) -> None:
        room.create()
        with pytest.raises(IssuerIdTaken):
            room.create(name="Another")
        with pytest.raises(IssuerNameTaken):
            room.create(id="iss-another")

    def test_a_kind_that_runs_code_needs_a_further_permission(self, room: Room) -> None:
        body = {"name": "Scripts", "kind": "scripted"}
        with pytest.raises(Forbidden):
            room.call("issuers.create", body=body)
        room.allowed.add("issuer.execute")
        assert room.call("issuers.create", body=body).kind == "scripted"

    def test_test_first_saves_only_what_works(self, room: Room) -> None:
        config = {"base_url": "https://ca.example.com", "api_key": "key-1234567"}
        with pytest.raises(ConnectionTestFailed) as caught:
            room.create(test=True, config=config | {"product": "unreachable"})
        report = caught.value.public["report"]
        assert report["ok"] is False  # type: ignore[index]
        assert "key-1234567" not in json.dumps(report)
        assert room.call("issuers.list").total == 0
        assert room.create(test=True, config=config).id == "iss-widgets"

    @pytest.mark.spec("02/CA-5", "06/REG-5")
    def test_one_that_cannot_start_is_saved_as_unavailable_with_the_reason(
        self, room: Room
    ) -> None:
        config = {"base_url": "https://ca.example.com", "api_key": "k", "product": "unopenable"}
        view = room.create(config=config)
        assert view.state is IssuerState.UNAVAILABLE
        assert "the door is shut" in view.state_reason


class TestPatch:
    @pytest.mark.spec("01/ISS-02")
    @pytest.mark.parametrize("secret", ["absent", "stars", "shown"])
    def test_a_secret_that_is_not_given_is_kept(self, room: Room, secret: str) -> None:
        room.create()
        room.clock.advance(HOUR)
        before = stored(room, "secrets")
        config: dict[str, Any] = {"product": "premium"}
        if secret != "absent":
            config["api_key"] = "********" if secret == "stars" else SET
        view = room.call("issuers.update", "iss-widgets", body={"config": config})
        assert view.config["product"] == "premium"
        assert view.config["api_key"] == SET
        assert stored(room, "secrets") == before
        assert room.events[-1].event.fields == ("config.product",)  # type: ignore[attr-defined]

    def test_a_new_value_replaces_and_null_clears(self, room: Room) -> None:
        room.create()
        room.clock.advance(HOUR)
        body = {"config": {"api_key": "second-secret", "second_key": "third-secret"}}
        view = room.call("issuers.update", "iss-widgets", body=body)
        assert view.config["api_key"]["updated_at"] == "2026-01-15T13:00:00Z"
        assert view.config["second_key"]["set"] is True
        fields = room.events[-1].event.fields  # type: ignore[attr-defined]
        assert fields == ("config.api_key", "config.second_key")
        cleared = {"config": {"second_key": None}}
        view = room.call("issuers.update", "iss-widgets", body=cleared)
        assert view.config["second_key"] is None
        assert list(stored(room, "secrets")) == ["api_key"]

    def test_a_stored_secret_does_not_go_to_another_host(self, room: Room) -> None:
        room.create()
        body = {"config": {"base_url": "https://evil.example.com/api"}}
        with pytest.raises(SecretNeedsReentry) as caught:
            room.call("issuers.update", "iss-widgets", body=body)
        assert [item.field for item in caught.value.fields] == ["config.api_key"]
        assert caught.value.code == "reenter_secret"
        body["config"]["api_key"] = "entered-again"
        assert room.call("issuers.update", "iss-widgets", body=body).version == 2

    def test_another_path_on_the_same_host_keeps_the_secret(self, room: Room) -> None:
        room.create()
        body = {"config": {"base_url": "https://ca.example.com/v2"}}
        assert room.call("issuers.update", "iss-widgets", body=body).version == 2

    def test_only_a_changed_configuration_forgets_the_test(self, room: Room) -> None:
        room.create()
        room.call("issuers.test", "iss-widgets")
        view = room.call("issuers.update", "iss-widgets", body={"name": "Renamed"})
        assert (view.name, view.test_status) == ("Renamed", TestStatus.SUCCESS)
        body = {"config": {"product": "premium"}}
        view = room.call("issuers.update", "iss-widgets", body=body)
        assert view.test_status is TestStatus.UNTESTED
        assert view.health is IssuerHealth.UNKNOWN

    def test_nothing_changed_writes_nothing(self, room: Room) -> None:
        room.create()
        view = room.call("issuers.update", "iss-widgets", body={"name": "Widgets"})
        assert view.version == 1
        assert room.tags() == ["issuer.created"]

    @pytest.mark.parametrize("operation", ["issuers.update", "issuers.replace", "issuers.delete"])
    def test_a_stale_version_is_refused(self, room: Room, operation: str) -> None:
        room.create()
        room.call("issuers.update", "iss-widgets", body={"name": "Second"}, if_match=1)
        with pytest.raises(IssuerChanged):
            room.call(operation, "iss-widgets", body={"name": "Third"}, if_match=1)

    def test_a_taken_name_is_refused(self, room: Room) -> None:
        room.create()
        room.create(id="iss-other", name="Other")
        with pytest.raises(IssuerNameTaken):
            room.call("issuers.update", "iss-other", body={"name": "Widgets"})

    def test_a_bad_configuration_is_refused_whole(self, room: Room) -> None:
        room.create()
        body = {"name": "New", "config": {"product": "unknown"}}
        with pytest.raises(ConfigInvalid):
            room.call("issuers.update", "iss-widgets", body=body)
        body = {"name": "New", "config": {"product": "refused"}}
        with pytest.raises(IssuerCannotStart):
            room.call("issuers.update", "iss-widgets", body=body)
        assert room.call("issuers.get", "iss-widgets").name == "Widgets"

    @pytest.mark.parametrize("operation", ["update", "replace", "delete", "enable", "disable"])
    def test_what_is_declared_elsewhere_is_read_only(self, room: Room, operation: str) -> None:
        room.create()
        with room.units.begin() as uow:
            uow.execute(sa.text("UPDATE issuers SET source = 'env'"))
        with pytest.raises(IssuerManagedElsewhere):
            room.call(f"issuers.{operation}", "iss-widgets", body={"name": "New"})

    @pytest.mark.parametrize("operation", ["update", "replace", "delete", "enable", "test", "get"])
    def test_an_unknown_issuer_is_not_found(self, room: Room, operation: str) -> None:
        with pytest.raises(IssuerNotFound):
            room.call(f"issuers.{operation}", "iss-none", body={"name": "New"})


class TestReplace:
    def test_plain_fields_fall_back_and_secrets_stay(self, room: Room) -> None:
        config = {"base_url": "https://ca.example.com", "api_key": "k", "product": "premium"}
        room.create(config=config)
        body = {"name": "New", "config": {"base_url": "https://ca.example.com"}}
        view = room.call("issuers.replace", "iss-widgets", body=body)
        assert (view.name, view.config["product"]) == ("New", "basic")
        assert view.config["api_key"]["set"] is True


class TestSwitch:
    def test_disable_and_enable_change_state_and_are_audited(self, room: Room) -> None:
        room.create()
        assert room.call("issuers.disable", "iss-widgets").state is IssuerState.DISABLED
        assert room.call("issuers.disable", "iss-widgets").version == 2
        assert room.call("issuers.enable", "iss-widgets").state is IssuerState.READY
        assert room.tags() == ["issuer.created", "issuer.disabled", "issuer.enabled"]


class TestDelete:
    @pytest.mark.spec("01/ISS-03")
    def test_is_gone_and_audited(self, room: Room) -> None:
        room.create()
        assert room.call("issuers.delete", "iss-widgets") is None
        with pytest.raises(IssuerNotFound):
            room.call("issuers.get", "iss-widgets")
        assert room.tags() == ["issuer.created", "issuer.deleted"]

    @pytest.mark.spec("01/ISS-03")
    def test_what_is_in_use_stays_and_says_by_what(self, room: Room) -> None:
        def count(_uow: Uow, issuer_id: str) -> int:
            return 3 if issuer_id == "iss-widgets" else 0

        room.service.add_usage_counter("certificates", count)
        room.service.add_usage_counter("profiles", lambda _uow, _issuer_id: 0)
        room.create()
        with pytest.raises(IssuerInUse) as caught:
            room.call("issuers.delete", "iss-widgets")
        assert caught.value.public == {"counts": {"certificates": 3, "profiles": 0}}


class TestSeed:
    @pytest.mark.spec("06/REG-7", "01/ISS-05")
    def test_the_local_issuer_is_seeded_once_and_only_into_nothing(self, room: Room) -> None:
        with room.units.begin() as uow:
            view = room.service.seed_local(uow)
            assert view is not None
            assert (view.id, view.kind) == ("iss-local", "local")
        with room.units.begin() as uow:
            assert room.service.seed_local(uow) is None
        assert room.tags() == ["issuer.created"]

    def test_not_beside_another_issuer(self, room: Room) -> None:
        room.create()
        with room.units.begin() as uow:
            assert room.service.seed_local(uow) is None


class TestList:
    def test_filters_sorts_and_scopes(self, room: Room) -> None:
        room.create()
        room.create(id="iss-b", name="Bolts", enabled=False)
        room.create(id="iss-c", name="Cogs", kind="local", config={})

        def ids(scopes: list[Resource] | None = None, **query: object) -> list[str]:
            return [row.id for row in room.call("issuers.list", query=query, scopes=scopes).data]

        assert ids(sort="name") == ["iss-b", "iss-c", "iss-widgets"]
        assert ids(sort="-name", page_size=1) == ["iss-widgets"]
        assert ids(kind="local") == ["iss-c"]
        assert ids(kind="nothing") == []
        assert ids(enabled=False) == ["iss-b"]
        assert ids(q="cog") == ["iss-c"]
        assert ids(q="iss-b") == ["iss-b"]
        assert ids([Resource(issuer_id="iss-b"), Resource(profile_id="prof-x")]) == ["iss-b"]

    @pytest.mark.spec("06/PLG-4")
    def test_an_issuer_whose_plugin_is_gone_stays_listed(self, room: Room) -> None:
        room.create()
        other = room.another(vendors=False)
        view = other.call("issuers.get", "iss-widgets")
        assert view.config["api_key"]["set"] is True
        assert view.capabilities == []
        assert other.call("issuers.test", "iss-widgets").ok is False
        assert other.call("issuers.get", "iss-widgets").state is IssuerState.UNAVAILABLE
        assert other.call("issuers.update", "iss-widgets", body={"name": "Kept"}).name == "Kept"
