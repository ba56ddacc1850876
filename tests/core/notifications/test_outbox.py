"""What leaves a notification, who is told, and what a commit pays for it (06 §8.4, NTF-1)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certctl_core.contracts.notifiers import AlertState, Severity
from certctl_core.insight.notifications import NotificationStatus, Reason, RouteView
from certctl_core.lifecycle.certificates import (
    CertificateUpdated,
    RenewalSucceeded,
)
from certctl_core.lifecycle.revocation import CertificateRevoked
from tests.core.notifications.conftest import Receiver, Room, failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl_core.kernel.db import Uow

DEFAULT = "nr-default"


def updated(certificate_id: str) -> CertificateUpdated:
    return CertificateUpdated(resource_id=certificate_id, changes={})


def revoked(certificate_id: str, reason: str) -> CertificateRevoked:
    return CertificateRevoked(
        resource_id=certificate_id,
        common_name="web.example.com",
        issuer_id="iss-local",
        serials=("0a",),
        reason=reason,
    )


def renewed(room: Room, certificate_id: str) -> RenewalSucceeded:
    return RenewalSucceeded(
        resource_id=certificate_id,
        version_id="cv-new",
        serial_number="0b",
        not_after=room.clock.now() + timedelta(days=90),
    )


def route(room: Room, name: str = "Extra", **members: object) -> RouteView:
    made: RouteView = room.call("notification_routes.create", body={"name": name, **members})
    return made


class TestWhatIsStored:
    @pytest.mark.spec("06/RTE-3")
    def test_without_a_notifier_a_warning_is_kept_and_marked(self, room: Room) -> None:
        room.fail_renewal(room.certificate())
        (found,) = room.notifications()
        assert (found.state, found.reason) == (NotificationStatus.SUPPRESSED, Reason.NO_ROUTE)
        assert room.counts() == {"all": 1, "unread": 1, "dead": 0, "suppressed": 1}

    @pytest.mark.spec("06/RTE-3")
    def test_the_default_route_tells_every_enabled_notifier(
        self, room: Room, receiver_of: Callable[[], Receiver]
    ) -> None:
        first = room.webhook(receiver_of(), "First")
        second = room.webhook(receiver_of(), "Second")
        off = room.webhook(receiver_of(), "Off")
        room.call("notifiers.update", notifier_id=off.id, body={"enabled": False})
        room.fail_renewal(room.certificate())
        assert {item.notifier_id for item in room.deliveries()} == {first.id, second.id}

    def test_an_ordinary_event_leaves_no_row(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        room.emit(updated(room.certificate()))
        assert room.notifications() == []

    def test_an_ordinary_event_that_a_route_wants_is_told(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        route(room, match={"events": ["certificate.updated"]})
        room.emit(updated(room.certificate()))
        (found,) = room.notifications()
        assert (found.event, found.severity) == ("certificate.updated", Severity.INFO)
        room.deliver()
        assert receiver.events() == ["certificate.updated"]

    @pytest.mark.spec("06/NTF-1")
    def test_it_is_stored_with_the_change_or_not_at_all(self, room: Room) -> None:
        certificate_id = room.certificate()
        with pytest.raises(RuntimeError):
            _roll_back(room, lambda uow: uow.emit(failed(certificate_id)))
        assert room.notifications() == []

    def test_an_event_about_an_unknown_certificate_is_stored_all_the_same(self, room: Room) -> None:
        room.fail_renewal("mc-unknown")
        (found,) = room.notifications()
        assert found.certificate_id is None
        assert found.title == "Renewal failed: mc-unknown"

    def test_all_events_of_one_commit_are_stored(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        first, second = room.certificate("a.example.com"), room.certificate("b.example.com")
        room.emit(failed(first), updated(first), revoked(second, "superseded"))
        assert {item.event for item in room.notifications()} == {
            "renewal.failed",
            "certificate.revoked",
        }
        assert len(room.deliveries()) == 2

    def test_notifications_do_not_breed(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        route(room, match={"severities": ["info"]})
        room.fail_renewal(room.certificate())
        for _ in range(3):
            room.deliver()
        assert "notification.sent" in room.tags()
        assert not [item for item in room.notifications() if item.event.startswith("notification.")]


class TestSeverity:
    @pytest.mark.parametrize(
        ("reason", "severity"), [("superseded", "warning"), ("keyCompromise", "critical")]
    )
    def test_a_compromised_key_is_critical(self, room: Room, reason: str, severity: str) -> None:
        room.emit(revoked(room.certificate(), reason))
        assert room.notifications()[0].severity == severity

    def test_a_failure_shortly_before_the_end_is_critical(self, room: Room) -> None:
        certificate_id = room.certificate()
        _end_in(room, certificate_id, timedelta(days=6))
        room.fail_renewal(certificate_id)
        assert room.notifications()[0].severity is Severity.CRITICAL


class TestIncidents:
    def test_beginning_and_end_share_their_key(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        route(room, match={"events": ["renewal.*"]})
        certificate_id = room.certificate()
        room.fail_renewal(certificate_id)
        room.clock.advance(timedelta(seconds=1))
        room.emit(renewed(room, certificate_id))
        room.deliver()
        room.deliver()
        first, last = (item.json() for item in receiver.received)
        assert (first["state"], last["state"]) == ("firing", "resolved")
        assert first["dedup_key"] == last["dedup_key"]
        assert first["dedup_key"] == f"certctl/test/{certificate_id}/renewal.failed"
        assert {item.alert for item in room.notifications()} == set(AlertState)


class TestRoutes:
    @pytest.mark.spec("06/RTE-1")
    @pytest.mark.parametrize(
        ("match", "is_told"),
        [
            ({}, True),
            ({"events": ["renewal.failed"]}, True),
            ({"events": ["renewal.*"]}, True),
            ({"events": ["certificate.*"]}, False),
            ({"severities": ["warning"]}, True),
            ({"severities": ["critical"]}, False),
            ({"environments": ["production"]}, True),
            ({"environments": ["staging"]}, False),
            ({"issuer_ids": ["iss-local"]}, True),
            ({"issuer_ids": ["iss-other"]}, False),
            ({"profile_ids": ["prof-default"]}, True),
            ({"profile_ids": ["prof-other"]}, False),
            ({"environments": ["production"], "severities": ["critical"]}, False),
        ],
        ids=str,
    )
    def test_all_conditions_must_hold(
        self, room: Room, receiver: Receiver, match: dict[str, object], is_told: bool
    ) -> None:
        room.webhook(receiver)
        room.call("notification_routes.delete", route_id=DEFAULT)
        certificate_id = room.certificate(
            environment="production", certificate_profile_id="prof-default"
        )
        route(room, match=match)
        before = len(room.deliveries())
        room.fail_renewal(certificate_id)
        assert (len(room.deliveries()) > before) is is_told

    @pytest.mark.spec("06/RTE-1")
    def test_a_route_may_end_the_search(
        self, room: Room, receiver_of: Callable[[], Receiver]
    ) -> None:
        one, two = room.webhook(receiver_of(), "One"), room.webhook(receiver_of(), "Two")
        warnings = {"severities": ["warning"]}
        route(room, "First", priority=1, match=warnings, notifiers=[one.id], **{"continue": False})
        room.fail_renewal(room.certificate())
        assert [item.notifier_id for item in room.deliveries()] == [one.id]
        assert two.id != one.id

    def test_a_notifier_named_by_two_routes_is_told_once(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        route(room, notifiers=[hook.id, "*"], match={"severities": ["warning"]})
        room.fail_renewal(room.certificate())
        assert len(room.deliveries()) == 1

    @pytest.mark.spec("06/NTF-3")
    def test_a_disabled_notifier_that_is_named_is_noted(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        room.call("notifiers.update", notifier_id=hook.id, body={"enabled": False})
        route(room, notifiers=[hook.id], match={"severities": ["warning"]})
        room.fail_renewal(room.certificate())
        room.deliver()
        (delivery,) = room.deliveries()
        assert (delivery.state, delivery.reason) == ("suppressed", "notifier_disabled")

    def test_a_disabled_route_does_nothing(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        room.call("notification_routes.update", route_id=DEFAULT, body={"enabled": False})
        room.fail_renewal(room.certificate())
        assert room.deliveries() == []

    @pytest.mark.spec("06/RTE-5")
    def test_a_preview_says_who_would_be_told(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        certificate_id = room.certificate(environment="production")
        route(room, match={"environments": ["production"]})
        preview = room.call(
            "notification_routes.preview",
            body={"event": "certificate.updated", "certificate_id": certificate_id},
        )
        assert (preview.severity, preview.is_stored) == ("info", True)
        assert [(item.id, item.route_name) for item in preview.notifiers] == [(hook.id, "Extra")]
        preview = room.call("notification_routes.preview", body={"event": "certificate.updated"})
        assert (preview.is_stored, preview.notifiers) == (False, [])
        assert room.notifications() == []


class TestCost:
    def test_a_commit_that_nobody_wants_to_hear_of_runs_no_query(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        certificate_id = room.certificate()
        room.emit(updated(certificate_id))
        seen = room.statements()
        for _ in range(5):
            room.emit(updated(certificate_id))
        assert [text for text in seen if "SELECT" in text or "INSERT" in text] == []

    def test_a_change_of_routes_is_known_to_the_next_commit(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        certificate_id = room.certificate()
        room.emit(updated(certificate_id))
        made = route(room, match={"events": ["certificate.updated"]})
        room.emit(updated(certificate_id))
        assert len(room.notifications()) == 1
        room.call("notification_routes.delete", route_id=made.id)
        room.emit(updated(certificate_id))
        assert len(room.notifications()) == 1

    def test_another_process_follows_within_five_seconds(self, room: Room) -> None:
        certificate_id = room.certificate()
        room.emit(updated(certificate_id))
        room.units.on_wake = None
        route(room, match={"events": ["certificate.updated"]}, notifiers=["*"])
        room.call("notification_routes.delete", route_id=DEFAULT)
        room.clock.advance(timedelta(seconds=5))
        with room.units.begin() as uow:
            table = room.cache.table(uow)
        assert table.wants("certificate.updated", Severity.INFO)

    def test_a_route_that_is_rolled_back_never_counted(
        self, room: Room, receiver: Receiver
    ) -> None:
        from certctl_core.insight.notifications import CreateRoute

        room.webhook(receiver)
        certificate_id = room.certificate()
        body = CreateRoute.model_validate({"name": "X", "match": {"events": ["certificate.*"]}})

        def act(uow: Uow) -> None:
            room.routes.create(uow, body)
            uow.emit(updated(certificate_id))

        with pytest.raises(RuntimeError):
            _roll_back(room, act)
        room.emit(updated(certificate_id))
        assert room.notifications() == []


class TestTexts:
    @pytest.mark.spec("06/NTF-1")
    def test_names_and_details_are_cleaned_and_cut(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        certificate_id = room.certificate("safe.example.com")
        _rename(room, certificate_id, "a\u202eb\r\nX: y\u200b{{7*7}}<b>" + "z" * 200)
        room.fail_renewal(certificate_id, "bad\u2066\x00\r\nSubject: spoofed" + "e" * 1000)
        room.deliver()
        (found,) = room.notifications()
        assert len(found.title) <= 120
        document = receiver.received[0].json()
        flat = str(document).replace("\\n", "")
        for mark in ("\u202e", "\u2066", "\u200b", "\x00", "\r"):
            assert mark not in flat
        assert "\n" not in document["title"]
        assert "{{7*7}}<b>" in document["title"], "inert, and so kept as it is"
        assert len(document["data"]["message"]) <= 300


def _roll_back(room: Room, act: Callable[[Uow], object]) -> None:
    """Do something up to the moment before the commit, then fail."""
    with room.units.begin() as uow:
        act(uow)
        uow.before_commit()
        raise RuntimeError


def _end_in(room: Room, certificate_id: str, left: timedelta) -> None:
    from certctl_core.lifecycle.certificates._tables import managed_certificates as t

    with room.units.begin() as uow:
        uow.execute(t.update().where(t.c.id == certificate_id).values(expires_at=uow.now + left))


def _rename(room: Room, certificate_id: str, name: str) -> None:
    from certctl_core.lifecycle.certificates._tables import managed_certificates as t

    with room.units.begin() as uow:
        uow.execute(t.update().where(t.c.id == certificate_id).values(name=name[:200]))
