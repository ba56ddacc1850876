"""Running issuers: built once, replaced quietly, watched (06 §2.3, §3.4)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from certctl_core.contracts.errors import AuthError, LockBusy
from certctl_core.contracts.host.registry import KindUnknown
from certctl_core.contracts.issuers import Issued, IssueRequest
from certctl_core.contracts.options import SecretNeedsReentry
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.issuers import (
    IssuerDisabled,
    IssuerHealth,
    IssuerNotFound,
    IssuerState,
    TestStatus,
    UnsupportedByIssuer,
)
from certctl_core.lifecycle.issuers.state import DatabaseLocks, SealedState
from tests.machine import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.core.issuers.conftest import Room, Widgets

Order = Callable[[], IssueRequest]


def patch(room: Room, **config: object) -> Any:
    return room.call("issuers.update", "iss-widgets", body={"config": config})


class TestInstances:
    @pytest.mark.spec("06/REG-1")
    def test_one_instance_serves_all_calls(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.create()
        for _ in range(3):
            assert isinstance(room.service.submit("iss-widgets", order()), Issued)
        assert len(widgets.alive) == 1
        assert widgets.asked == ["first-secret"] * 3

    @pytest.mark.spec("06/REG-1", "06/REG-2", "01/ISS-03")
    def test_an_edit_replaces_this_instance_only(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.create()
        room.create(id="iss-other", name="Other")
        patch(room, api_key="second-secret")
        room.service.submit("iss-widgets", order())
        room.service.submit("iss-other", order())
        assert widgets.asked == ["second-secret", "first-secret"]
        assert [one.closed for one in widgets.alive] == [True, False, False]

    @pytest.mark.spec("06/REG-2")
    def test_a_call_in_flight_ends_before_its_instance_is_closed(
        self, room: Room, widgets: type[Widgets]
    ) -> None:
        room.create()
        running = room.service.instance("iss-widgets")
        inside, leave = threading.Event(), threading.Event()

        def slow() -> str:
            inside.set()
            leave.wait(PATIENCE_SECONDS)
            return "closed" if widgets.alive[0].closed else "open"

        results: list[str] = []
        thread = threading.Thread(
            target=lambda: results.append(
                running.guard.call(slow, budget=timedelta(seconds=PATIENCE_SECONDS), what="slow")
            )
        )
        thread.start()
        assert inside.wait(PATIENCE_SECONDS)
        patch(room, product="premium")
        assert not widgets.alive[0].closed
        leave.set()
        thread.join(PATIENCE_SECONDS)
        assert results == ["open"]
        assert widgets.alive[0].closed

    @pytest.mark.spec("06/REG-2")
    def test_a_new_configuration_that_cannot_start_leaves_the_old_one_running(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.create()
        view = patch(room, product="unopenable", api_key="second-secret")
        assert view.state is IssuerState.UNAVAILABLE
        assert "the door is shut" in view.state_reason
        room.service.submit("iss-widgets", order())
        assert widgets.asked == ["first-secret"]
        assert patch(room, product="basic").state is IssuerState.READY
        room.service.submit("iss-widgets", order())
        assert widgets.asked == ["first-secret", "second-secret"]

    @pytest.mark.spec("06/REG-3", "08/HA-3")
    def test_another_process_follows_within_five_seconds(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.create()
        other = room.another()
        other.service.submit("iss-widgets", order())
        other.service.submit("iss-widgets", order())  # the first one found it healthy
        room.units.on_wake = None
        room.call("issuers.disable", "iss-widgets")
        room.clock.advance(timedelta(seconds=4))
        other.service.submit("iss-widgets", order())
        room.clock.advance(timedelta(seconds=1))
        with pytest.raises(IssuerDisabled):
            other.service.submit("iss-widgets", order())

    def test_a_wake_up_is_followed_at_once(self, room: Room, order: Order) -> None:
        room.create()
        room.service.submit("iss-widgets", order())
        room.call("issuers.disable", "iss-widgets")
        with pytest.raises(IssuerDisabled):
            room.service.submit("iss-widgets", order())

    def test_a_disabled_issuer_still_answers_for_what_it_issued(self, room: Room) -> None:
        room.create()
        room.call("issuers.disable", "iss-widgets")
        assert room.service.instance("iss-widgets").kind == "widgets"
        with room.units.begin() as uow, pytest.raises(IssuerDisabled):
            room.service.require_usable(uow, "iss-widgets")

    @pytest.mark.spec("01/ISS-03")
    def test_deletion_closes_the_instance(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.create()
        room.call("issuers.delete", "iss-widgets")
        assert widgets.alive[0].closed
        with pytest.raises(IssuerNotFound):
            room.service.submit("iss-widgets", order())

    def test_shutdown_closes_all(self, room: Room, widgets: type[Widgets]) -> None:
        room.create()
        room.service.close()
        assert widgets.alive[0].closed

    @pytest.mark.spec("06/CFG-4")
    def test_a_reference_is_shown_stored_as_it_is_and_resolved_at_use(
        self, room: Room, widgets: type[Widgets], order: Order
    ) -> None:
        room.secrets["api-key"] = "from-outside"
        ref = "secretref:file:api-key"
        view = room.create(config={"base_url": "https://ca.example.com", "api_key": ref})
        assert view.config["api_key"] == {"set": True, "ref": ref}
        room.service.submit("iss-widgets", order())
        assert widgets.asked == ["from-outside"]

    @pytest.mark.spec("06/SEC-5")
    def test_without_the_key_the_issuer_is_unavailable_and_nothing_crashes(
        self, room: Room, order: Order
    ) -> None:
        from certctl_core.kernel.secrets import Credential, KeySpec

        room.create()
        other = room.another(keys=(KeySpec(kid="k2", material=Credential(b"x" * 32)),))
        with pytest.raises(CertctlError) as caught:
            other.service.submit("iss-widgets", order())
        assert caught.value.code == "issuer_unavailable"
        view = other.call("issuers.get", "iss-widgets")
        assert "cannot decrypt (key id k1)" in view.state_reason
        assert view.config["base_url"] == "https://ca.example.com/api"
        room.service.look_again()
        room.another().service.submit("iss-widgets", order())
        assert room.call("issuers.get", "iss-widgets").state is IssuerState.READY


class TestFacts:
    def test_what_the_choke_point_asks(self, room: Room) -> None:
        room.create()
        room.create(id="iss-local", name="Local", kind="local", config={"validity_days": 30})
        room.allowed.add("issuer.execute")
        room.create(id="iss-s", name="Scripts", kind="scripted", config={})
        assert room.service.is_local("iss-local")
        assert not room.service.is_local("iss-widgets")
        assert room.service.default_validity("iss-local") == timedelta(days=30)
        assert room.service.default_validity("iss-widgets") == timedelta(days=90)
        assert room.service.default_validity("iss-s") > timedelta(days=825)
        with room.units.begin() as uow:
            assert room.service.require_usable(uow, "iss-local").id == "iss-local"
            with pytest.raises(IssuerNotFound):
                room.service.require_usable(uow, "iss-none")
        with pytest.raises(IssuerNotFound):
            room.service.is_local("iss-none")


class TestHealth:
    @pytest.mark.spec("06/ISS-5")
    def test_wrong_credentials_make_it_failing_and_success_healthy(
        self, room: Room, order: Order
    ) -> None:
        room.create()
        room.service.submit("iss-widgets", order())
        assert room.call("issuers.get", "iss-widgets").health is IssuerHealth.HEALTHY
        patch(room, product="unauthorised")
        with room.units.read() as uow:
            room.service.require_usable(uow, "iss-widgets")
        with pytest.raises(AuthError):
            room.service.submit("iss-widgets", order())
        assert room.call("issuers.get", "iss-widgets").health is IssuerHealth.FAILING


class TestTests:
    @pytest.mark.spec("01/ISS-04")
    def test_a_test_is_recorded_shown_and_audited(self, room: Room) -> None:
        room.create()
        report = room.call("issuers.test", "iss-widgets")
        assert report.ok
        view = room.call("issuers.get", "iss-widgets")
        assert view.test_status is TestStatus.SUCCESS
        assert view.health is IssuerHealth.HEALTHY
        assert view.last_test_report == report
        assert view.last_tested_at == room.clock.now()
        assert room.tags() == ["issuer.created", "issuer.tested"]

    @pytest.mark.spec("06/SEC-6", "01/ISS-04")
    def test_a_failed_test_is_an_answer_without_secrets(self, room: Room) -> None:
        config = {"base_url": "https://ca.example.com", "api_key": "secret-in-error"}
        room.create(config=config | {"product": "unreachable"})
        report = room.call("issuers.test", "iss-widgets")
        assert not report.ok
        assert "no answer" in report.checks[0].detail
        assert "secret-in-error" not in report.model_dump_json()
        view = room.call("issuers.get", "iss-widgets")
        assert (view.test_status, view.health) == (TestStatus.FAILED, IssuerHealth.FAILING)

    @pytest.mark.spec("02/CA-6")
    def test_the_seeded_local_issuer_passes(self, room: Room) -> None:
        with room.units.begin() as uow:
            room.service.seed_local(uow)
        assert room.call("issuers.test", "iss-local").ok

    def test_an_unsaved_configuration_is_tried_and_leaves_nothing(
        self, room: Room, widgets: type[Widgets]
    ) -> None:
        config = {"base_url": "https://ca.example.com", "api_key": "k"}
        assert room.call("issuers.try", body={"kind": "widgets", "config": config}).ok
        assert widgets.alive[0].closed
        assert room.call("issuers.list").total == 0
        assert room.call("issuers.try", body={"kind": "local"}).ok
        assert not (room.data_dir / "ca").exists()
        assert room.tags() == []

    def test_a_trial_takes_stored_secrets_for_the_same_host_only(self, room: Room) -> None:
        room.create()
        body: dict[str, Any] = {
            "kind": "widgets",
            "base_id": "iss-widgets",
            "config": {"base_url": "https://ca.example.com/v2"},
        }
        assert room.call("issuers.try", body=body).ok
        body["config"] = {"base_url": "https://evil.example.com"}
        with pytest.raises(SecretNeedsReentry):
            room.call("issuers.try", body=body)


class TestCA:
    def test_a_new_local_issuer_has_its_ca_at_once(self, room: Room) -> None:
        room.create(id="iss-corp", name="Corp", kind="local", config={"ca_common_name": "Corp"})
        (key,) = room.call("issuers.ca_keys", "iss-corp").data
        assert key.subject == "CN=Corp"
        assert key.state == "current"
        chain = room.call("issuers.ca_chain", "iss-corp").certificates
        assert chain == [key.certificate_pem]

    @pytest.mark.spec("02/CA-2")
    def test_edits_of_any_issuer_leave_the_ca_alone(self, room: Room) -> None:
        room.create(id="iss-corp", name="Corp", kind="local", config={})
        before = room.call("issuers.ca_keys", "iss-corp").data
        room.create()
        body = {"config": {"ca_common_name": "Other", "validity_days": 7}}
        room.call("issuers.update", "iss-corp", body=body)
        room.call("issuers.delete", "iss-widgets")
        assert room.call("issuers.ca_keys", "iss-corp").data == before

    @pytest.mark.spec("02/CA-5")
    def test_bad_ca_files_make_that_issuer_unavailable(self, room: Room) -> None:
        config = {"ca_cert_path": "/nonexistent/ca.crt", "ca_key_path": "/nonexistent/ca.key"}
        view = room.create(id="iss-corp", name="Corp", kind="local", config=config)
        assert view.state is IssuerState.UNAVAILABLE
        assert "/nonexistent/ca.crt" in view.state_reason

    def test_a_foreign_chain_is_asked_once_an_hour(
        self, room: Room, widgets: type[Widgets]
    ) -> None:
        room.create()
        for _ in range(2):
            room.call("issuers.ca_chain", "iss-widgets")
        assert widgets.asked == ["chain"]
        room.clock.advance(timedelta(hours=1))
        room.call("issuers.ca_chain", "iss-widgets")
        assert widgets.asked == ["chain", "chain"]

    def test_what_a_kind_cannot_is_said(self, room: Room) -> None:
        room.allowed.add("issuer.execute")
        room.create(id="iss-s", name="Scripts", kind="scripted", config={})
        with pytest.raises(UnsupportedByIssuer):
            room.call("issuers.ca_chain", "iss-s")
        with pytest.raises(UnsupportedByIssuer):
            room.call("issuers.ca_keys", "iss-s")


class TestKinds:
    @pytest.mark.spec("01/ISS-01")
    def test_the_catalogue_lists_what_cannot_be_used_with_the_reason(self, room: Room) -> None:
        page = room.call("issuer_types.list")
        kinds = {view.kind: view for view in page.data}
        assert set(kinds) == {"local", "widgets", "scripted", "missing"}
        assert kinds["widgets"].available
        assert not kinds["missing"].available
        assert "certctl[missing]" in kinds["missing"].error
        schema = kinds["widgets"].schema_
        assert schema["properties"]["api_key"]["writeOnly"] is True
        assert '"schema":' in kinds["widgets"].model_dump_json(by_alias=True)

    def test_one_kind_by_alias(self, room: Room) -> None:
        assert room.call("issuer_types.get", kind="genericca").kind == "local"
        with pytest.raises(KindUnknown):
            room.call("issuer_types.get", kind="nothing")


class TestContext:
    def test_state_is_sealed_versioned_and_ends_with_the_issuer(self, room: Room) -> None:
        room.create()
        keyring = room.service.parts.keyring
        state = SealedState("iss-widgets", units=room.units, keyring=keyring)
        assert state.get("account") is None
        assert state.compare_and_set("account", b"one", version=None)
        assert not state.compare_and_set("account", b"two", version=None)
        assert not state.compare_and_set("account", b"two", version=7)
        assert state.compare_and_set("account", b"two", version=1)
        assert state.put("account", b"three") == 3
        found = state.get("account")
        assert found is not None
        assert (found.value, found.version) == (b"three", 3)
        assert SealedState("iss-other", units=room.units, keyring=keyring).get("account") is None
        room.call("issuers.delete", "iss-widgets")
        assert state.get("account") is None

    def test_state_can_be_removed_and_refuses_odd_keys(self, room: Room) -> None:
        room.create()
        state = SealedState("iss-widgets", units=room.units, keyring=room.service.parts.keyring)
        state.put("a", b"1")
        state.delete("a")
        state.delete("a")
        assert state.get("a") is None
        with pytest.raises(ValueError, match="state key"):
            state.put("a/b", b"1")

    def test_a_lock_is_held_by_one_process(self, room: Room) -> None:
        mine = DatabaseLocks("iss-widgets", units=room.units)
        theirs = DatabaseLocks("iss-widgets", units=room.units)
        ttl = timedelta(seconds=30)
        with mine("account", ttl):
            with pytest.raises(LockBusy), theirs("account", ttl):
                pass
            with theirs("n" * 200, ttl):
                pass
        room.clock.advance(timedelta(seconds=2))
        with theirs("account", ttl):
            pass


@pytest.mark.spec("01/API-14")
def test_a_change_in_between_is_no_reason_to_refuse(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names no version cannot have read an old one (the server's own checks write, too)."""
    room.create(id="iss-corp", name="Corp", kind="local", config={})
    configs = room.service.configs
    change, others = configs.change, ["Renamed"]

    def slowly(*given: Any, **named: Any) -> Any:
        if others:
            room.call("issuers.update", "iss-corp", body={"name": others.pop()})
        return change(*given, **named)

    monkeypatch.setattr(configs, "change", slowly)
    view = room.call("issuers.update", "iss-corp", body={"config": {"validity_days": 7}})
    assert (view.name, view.config["validity_days"]) == ("Renamed", 7)
