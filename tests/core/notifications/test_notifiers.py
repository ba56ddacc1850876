"""Configured notifiers: sealed, tested, replaced, removed (06 §1.3, §9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from certctl_core.contracts.host.registry import KindUnknown
from certctl_core.contracts.options import ConfigInvalid, SecretNeedsReentry
from certctl_core.insight.notifications import (
    NotifierChanged,
    NotifierHealth,
    NotifierIdTaken,
    NotifierInUse,
    NotifierNameTaken,
    NotifierNotFound,
    NotifierTestFailed,
    UnknownNotifierKind,
)
from certctl_core.kernel.errors import CertctlError, Forbidden
from tests.core.notifications.conftest import Receiver, Room

if TYPE_CHECKING:
    from certctl_core.testing.fakes import FakeClock

OTHER_SECRET = "whsec_" + "QUFB" * 10


class TestSaving:
    @pytest.mark.spec("06/SEC-1", "06/WH-4")
    def test_the_secret_is_made_shown_once_and_sealed(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        secret = hook.generated_secrets["secret"]
        assert secret.startswith("whsec_")
        shown = room.call("notifiers.get", notifier_id=hook.id)
        assert shown.config["secret"]["set"] is True
        assert secret not in shown.model_dump_json()
        with room.units.read() as uow:
            stored = str(uow.execute(sa.text("SELECT * FROM notifiers")).all())
        assert secret not in stored
        assert hook.id.startswith("nfr-hook-")

    def test_an_own_secret_is_taken_and_not_shown(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver, secret=OTHER_SECRET)
        assert hook.generated_secrets == {}
        room.fail_renewal(room.certificate())
        room.deliver()
        assert receiver.received[0].is_signed_with(OTHER_SECRET)

    @pytest.mark.spec("06/SEC-2")
    def test_an_envelope_moved_to_another_row_does_not_open(
        self, room: Room, receiver: Receiver
    ) -> None:
        from certctl_core.insight.notifications._tables import notifiers as t

        one, two = room.webhook(receiver, "One"), room.webhook(receiver, "Two")
        with room.units.begin() as uow:
            stolen = uow.scalar(sa.select(t.c.secrets).where(t.c.id == one.id))
            uow.execute(
                t.update().where(t.c.id == two.id).values(secrets=stolen, revision=t.c.revision + 1)
            )
        room.notifiers.close()
        report = room.call("notifiers.test", notifier_id=two.id)
        assert not report.ok
        assert "cannot decrypt (key id " in report.checks[0].detail
        assert room.call("notifiers.get", notifier_id=two.id).state == "unavailable"

    def test_a_patch_keeps_the_secret(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        view = room.call(
            "notifiers.update",
            notifier_id=hook.id,
            body={"name": "Renamed", "config": {"legacy_signature": True}},
            if_match=room.call("notifiers.get", notifier_id=hook.id).version,
        )
        assert (view.name, view.config["legacy_signature"]) == ("Renamed", True)
        room.fail_renewal(room.certificate())
        room.deliver()
        assert receiver.received[0].is_signed_with(hook.generated_secrets["secret"])
        assert "x-signature" in receiver.received[0].headers
        changed = [item.event for item in room.emitted if item.event.tag == "notifier.updated"]
        assert changed[0].details()["fields"] == ["config.legacy_signature", "name"]

    @pytest.mark.spec("06/SEC-6")
    def test_a_kept_secret_goes_to_no_other_host(
        self, room: Room, receiver_of: Callable[[], Receiver]
    ) -> None:
        hook = room.webhook(receiver_of())
        config = {"url": receiver_of().url}
        with pytest.raises(SecretNeedsReentry) as caught:
            room.call("notifiers.update", notifier_id=hook.id, body={"config": config})
        assert [item.field for item in caught.value.fields] == ["config.secret"]
        room.call(
            "notifiers.update",
            notifier_id=hook.id,
            body={"config": config | {"secret": OTHER_SECRET}},
        )

    def test_a_replacement_returns_plain_fields_to_their_defaults(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver, legacy_signature=True)
        body = {"name": "Hook", "config": {"url": receiver.url}}
        view = room.call("notifiers.replace", notifier_id=hook.id, body=body)
        assert view.config["legacy_signature"] is False
        assert view.config["secret"]["set"] is True

    @pytest.mark.parametrize(
        ("members", "error"),
        [
            ({"kind": "pigeon"}, UnknownNotifierKind),
            ({"config": {}}, ConfigInvalid),
            ({"config": {"url": "http://127.0.0.1:1/", "secret": "short"}}, ConfigInvalid),
            ({"name": "Hook"}, NotifierNameTaken),
            ({"id": "nfr-taken"}, NotifierIdTaken),
        ],
        ids=["unknown_kind", "no_url", "bad_secret", "name_taken", "id_taken"],
    )
    def test_what_is_refused_is_not_stored(
        self, room: Room, receiver: Receiver, members: dict[str, object], error: type[CertctlError]
    ) -> None:
        config = {"url": receiver.url}
        first = {"id": "nfr-taken", "name": "Hook", "kind": "webhook", "config": config}
        room.call("notifiers.create", body=first)
        body = {"name": "New", "kind": "webhook", "config": config} | members
        with pytest.raises(error):
            room.call("notifiers.create", body=body)
        assert room.call("notifiers.list").total == 1

    def test_an_outdated_change_is_refused(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        with pytest.raises(NotifierChanged):
            room.call(
                "notifiers.update",
                notifier_id=hook.id,
                body={"name": "X"},
                if_match=hook.version + 9,
            )

    def test_lists_filter(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver, "One")
        off = room.webhook(receiver, "Two")
        room.call("notifiers.update", notifier_id=off.id, body={"enabled": False})
        names = lambda **query: [  # noqa: E731
            item.name for item in room.call("notifiers.list", query={"sort": "name", **query}).data
        ]
        assert names() == ["One", "Two"]
        assert names(enabled=False) == ["Two"]
        assert names(kind="WEBHOOK", q="on") == ["One"]
        assert names(health="failing") == []

    def test_the_kinds_are_listed_with_their_schema(self, room: Room) -> None:
        kinds = {item.kind: item for item in room.call("notifier_types.list").data}
        assert kinds["webhook"].available
        assert "url" in room.call("notifier_types.get", kind="webhook").schema_["properties"]
        with pytest.raises(KindUnknown):
            room.call("notifier_types.get", kind="pigeon")


class TestDeleting:
    def test_a_deleted_notifier_is_gone(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        room.call("notifiers.delete", notifier_id=hook.id, query={})
        with pytest.raises(NotifierNotFound):
            room.call("notifiers.get", notifier_id=hook.id)
        assert "notifier.deleted" in room.tags()

    def test_one_that_a_route_names_stays(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        body = {"name": "Route", "notifiers": [hook.id], "match": {"severities": ["critical"]}}
        room.call("notification_routes.create", body=body)
        with pytest.raises(NotifierInUse) as caught:
            room.call("notifiers.delete", notifier_id=hook.id, query={"force": True})
        assert caught.value.public["counts"] == {"routes": 1, "deliveries": 0}

    def test_waiting_deliveries_are_cancelled_only_on_request(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        with pytest.raises(NotifierInUse) as caught:
            room.call("notifiers.delete", notifier_id=hook.id, query={})
        assert caught.value.public["counts"] == {"routes": 0, "deliveries": 1}
        room.call("notifiers.delete", notifier_id=hook.id, query={"force": True})
        (delivery,) = room.deliveries()
        assert (delivery.state, delivery.reason) == ("cancelled", "notifier_deleted")
        assert room.counts()["suppressed"] == 1
        room.deliver()
        assert receiver.received == []


class TestTesting:
    def test_connecting_delivers_nothing(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        report = room.call("notifiers.test", notifier_id=hook.id)
        assert report.ok
        assert receiver.received == []
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert (view.test_status, view.health) == ("success", NotifierHealth.HEALTHY)
        assert view.last_test_report == report

    def test_a_test_message_says_so(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        room.call("notifiers.update", notifier_id=hook.id, body={"enabled": False})
        assert room.call("notifiers.test", notifier_id=hook.id, body={"send": True}).ok
        assert receiver.received[0].json()["test"] is True
        (tested,) = [item.event for item in room.emitted if item.event.tag == "notifier.tested"]
        assert tested.details()["sent"] is True

    def test_a_failure_is_a_report(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        receiver.status = 401
        report = room.call("notifiers.test", notifier_id=hook.id, body={"send": True})
        assert not report.ok
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert (view.test_status, view.health) == ("failed", NotifierHealth.FAILING)

    def test_a_configuration_is_tried_without_saving(self, room: Room, receiver: Receiver) -> None:
        body = {"kind": "webhook", "config": {"url": receiver.url}, "send": True}
        assert room.call("notifiers.try", body=body).ok
        assert len(receiver.received) == 1
        assert room.call("notifiers.list").total == 0
        hook = room.webhook(receiver)
        assert room.call("notifiers.try", body=body | {"base_id": hook.id}).ok
        assert receiver.received[1].is_signed_with(hook.generated_secrets["secret"])

    def test_creating_with_a_test_saves_nothing_that_fails(self, room: Room) -> None:
        body = {
            "name": "Dead end",
            "kind": "webhook",
            "config": {"url": "http://127.0.0.1:9/"},
            "test": True,
        }
        with pytest.raises(NotifierTestFailed):
            room.call("notifiers.create", body=body)
        assert room.call("notifiers.list").total == 0

    @pytest.mark.spec("06/NET-6")
    def test_a_forbidden_address_is_not_called(self, room: Room) -> None:
        body = {"kind": "webhook", "config": {"url": "http://169.254.169.254/latest"}, "send": True}
        report = room.call("notifiers.try", body=body)
        assert not report.ok

    def test_health_follows_the_deliveries(
        self, room: Room, receiver: Receiver, clock: FakeClock
    ) -> None:
        hook = room.webhook(receiver)
        receiver.status = 503
        room.fail_renewal(room.certificate())
        room.deliver()
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert view.health is NotifierHealth.DEGRADED
        receiver.status = 204
        clock.advance(timedelta(minutes=2))
        room.deliver()
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert view.health is NotifierHealth.HEALTHY


class TestState:
    def test_the_store_of_an_instance_is_sealed_and_goes_with_it(
        self, room: Room, receiver: Receiver
    ) -> None:
        from certctl_core.insight.notifications._tables import notifier_state
        from certctl_core.insight.notifications.state import SealedState

        hook = room.webhook(receiver)
        state = SealedState(hook.id, units=room.units, keyring=room.core.keyring)
        assert state.get("token") is None
        assert state.put("token", b"canary-value") == 1
        found = state.get("token")
        assert found is not None
        assert found.value == b"canary-value"
        assert not state.compare_and_set("token", b"x", version=None)
        assert state.compare_and_set("token", b"new", version=1)
        with room.units.read() as uow:
            assert "canary" not in str(uow.execute(sa.select(notifier_state)).all())
        room.call("notifiers.delete", notifier_id=hook.id, query={})
        with room.units.read() as uow:
            assert uow.execute(sa.select(notifier_state)).all() == []


def test_reading_does_not_allow_changing(room: Room, receiver: Receiver) -> None:
    from certctl_core.kernel.actors import Actor, ActorType

    viewer = Actor(type=ActorType.API_KEY, id="ak-viewer")
    with room.units.begin() as uow:
        room.core.rooms.access.grant(
            uow, actor_type=ActorType.API_KEY, actor_id=viewer.id, role_id="r-viewer"
        )
    assert room.call("notifiers.list", actor=viewer).total == 0
    body = {"name": "Hook", "kind": "webhook", "config": {"url": receiver.url}}
    with pytest.raises(Forbidden):
        room.call("notifiers.create", actor=viewer, body=body)
