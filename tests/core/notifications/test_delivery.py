"""Deliveries: sent, signed, tried again, given up, and never held up by another (06 §9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certctl_core.insight.notifications import DeliveryState, NotificationStatus, Reason
from certctl_core.insight.notifications.loops import deliver
from certctl_core.kernel.observability import REGISTRY
from tests.machine import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.core.notifications.conftest import Receiver, Room

MINUTE = timedelta(minutes=1)
PATIENCE = timedelta(seconds=PATIENCE_SECONDS)
BACKOFF = (1, 2, 4, 8, 16, 32, 60)


class TestSending:
    @pytest.mark.spec("06/NTF-1", "06/WH-1", "06/WH-2")
    def test_a_signed_message_reaches_the_receiver(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        certificate_id = room.certificate(environment="production")
        room.fail_renewal(certificate_id)
        assert receiver.received == []

        assert room.deliver() == 1

        (message,) = receiver.received
        assert message.is_signed_with(hook.generated_secrets["secret"])
        document = message.json()
        (delivery,) = room.deliveries()
        assert message.headers["webhook-id"] == delivery.id
        assert document["type"] == "renewal.failed"
        assert document["id"] == delivery.notification_id
        assert document["severity"] == "warning"
        assert document["title"] == "Renewal failed: web.example.com"
        assert document["certificate"]["id"] == certificate_id
        assert document["certificate"]["environment"] == "production"
        assert document["issuer"]["id"] == "iss-local"
        assert document["data"]["error_code"] == "upstream_timeout"
        assert document["links"]["certificate"].endswith(f"/ui/certificates/{certificate_id}")
        assert delivery.state is DeliveryState.SENT
        assert delivery.attempts == 1
        assert delivery.sent_at == room.clock.now()

    @pytest.mark.spec("06/NTF-4")
    def test_the_commit_wakes_the_worker(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        before = room.woken
        room.fail_renewal(room.certificate())
        assert room.woken == before + 1

    @pytest.mark.spec("06/NTF-9")
    def test_audit_and_metrics_follow_the_outcome(self, room: Room, receiver: Receiver) -> None:
        sent = REGISTRY.get("certctl_notification_deliveries_total")
        assert sent is not None
        before = sent.value("webhook", "sent")
        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        assert "notification.sent" not in room.tags()

        room.deliver()

        (event,) = [item.event for item in room.emitted if item.event.tag == "notification.sent"]
        assert event.details() | {"delivery_id": ""} == {
            "delivery_id": "",
            "notifier_id": hook.id,
            "event": "renewal.failed",
            "attempts": 1,
        }
        assert sent.value("webhook", "sent") == before + 1

    @pytest.mark.spec("06/NTF-5")
    def test_nothing_is_sent_twice(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        room.fail_renewal(room.certificate())
        other = room.new_worker("two")
        room.deliver()
        deliver(other, wait=PATIENCE)
        room.clock.advance(timedelta(days=1))
        room.deliver()
        assert len(receiver.received) == 1

    @pytest.mark.spec("08/JOB-4")
    def test_two_workers_share_a_backlog(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        for number in range(30):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        other = room.new_worker("two")
        assert other.run() == 0
        room.deliver()
        deliver(other, wait=PATIENCE)
        ids = [item.headers["webhook-id"] for item in receiver.received]
        assert len(ids) == len(set(ids)) == 30
        assert {item.state for item in room.deliveries()} == {DeliveryState.SENT}

    def test_one_incident_is_told_in_order(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        certificate_id = room.certificate()
        for number in range(6):
            room.fail_renewal(certificate_id, f"try {number}")
            room.clock.advance(timedelta(milliseconds=1))
        receiver.status = 503
        room.deliver()
        assert len(receiver.received) == 1, "the others wait for the first"
        receiver.status = 204
        room.clock.advance(2 * MINUTE)
        room.deliver()
        told = [item.json()["data"]["message"] for item in receiver.received]
        assert told == ["try 0", *(f"try {number}" for number in range(6))]


class TestFailures:
    @pytest.mark.spec("06/NTF-2", "01/NTF-1")
    def test_tries_follow_the_table_and_end_dead(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        receiver.status = 429
        room.fail_renewal(room.certificate())
        waits = []
        for attempt in range(1, 8):
            room.deliver()
            (delivery,) = room.deliveries()
            assert delivery.state is DeliveryState.RETRYING
            assert delivery.attempts == attempt == len(receiver.received)
            waits.append((delivery.next_attempt_at - room.clock.now()) / MINUTE)
            room.clock.set(delivery.next_attempt_at - timedelta(seconds=1))
            room.deliver()
            assert len(receiver.received) == attempt, "nothing is sent before its time"
            room.clock.set(delivery.next_attempt_at)
        assert all(
            0.8 * minutes <= wait <= 1.2 * minutes
            for minutes, wait in zip(BACKOFF, waits, strict=True)
        )

        room.deliver()

        (delivery,) = room.deliveries()
        assert delivery.state is DeliveryState.DEAD
        assert delivery.attempts == 8
        assert delivery.error_class == "rate_limited"
        (notification,) = room.notifications(status="dead")
        assert notification.state is NotificationStatus.DEAD
        assert notification.attempts == 8
        assert notification.last_error
        assert len({item.headers["webhook-id"] for item in receiver.received}) == 1

    @pytest.mark.spec("06/NTF-2")
    def test_the_receiver_may_say_when(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        receiver.status, receiver.answer_headers = 429, {"retry-after": "600"}
        room.fail_renewal(room.certificate())
        room.deliver()
        (delivery,) = room.deliveries()
        assert delivery.next_attempt_at - room.clock.now() == timedelta(seconds=600)

    @pytest.mark.spec("06/NTF-2")
    @pytest.mark.parametrize("status", [400, 401, 404, 302])
    def test_a_refusal_is_final(self, room: Room, receiver: Receiver, status: int) -> None:
        room.webhook(receiver)
        receiver.status = status
        room.fail_renewal(room.certificate())
        room.deliver()
        (delivery,) = room.deliveries(state="dead")
        assert delivery.attempts == 1
        assert "notification.dead" in room.tags()

    @pytest.mark.spec("06/NTF-2", "06/NTF-6")
    def test_dead_ones_are_sent_again_on_request(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        receiver.status = 400
        room.fail_renewal(room.certificate())
        room.deliver()
        dead = room.notifications(event="renewal.failed")[0]
        assert room.call("notifications.read", notification_id=dead.id).changed == 1
        assert room.deliveries(notification_id=dead.id)[0].state is DeliveryState.DEAD

        receiver.status = 204
        assert room.call("notifications.requeue", notification_id=dead.id).status == "requeued"
        assert room.counts()["dead"] == 0
        room.deliver()

        details = room.call("notifications.get", notification_id=dead.id)
        assert details.state is NotificationStatus.SENT
        assert details.last_error is None
        assert [item.state for item in details.deliveries] == [DeliveryState.SENT]
        assert [item.attempts for item in details.deliveries] == [1]

    @pytest.mark.spec("06/NTF-10")
    def test_a_dead_letter_is_told_once_an_hour_and_elsewhere(
        self, room: Room, receiver_of: Callable[[], Receiver]
    ) -> None:
        broken, other = receiver_of(), receiver_of()
        hook = room.webhook(broken, "Broken")
        room.webhook(other, "Other")
        broken.status = 400
        for number in range(3):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        room.deliver()
        room.deliver()
        assert room.tags().count("notifier.dead_letter") == 1
        assert other.events().count("notifier.dead_letter") == 1
        assert broken.events() == ["renewal.failed"] * 3
        letter = next(item for item in other.received if item.json()["type"].startswith("notif"))
        assert letter.json()["title"] == "Notifier dead letter: Broken"

        room.clock.advance(timedelta(hours=1))
        room.fail_renewal(room.certificate("late.example.com"))
        room.deliver()
        room.deliver()
        assert room.tags().count("notifier.dead_letter") == 2
        assert hook.id not in {
            item.notifier_id
            for ntf in room.notifications(event="notifier.dead_letter")
            for item in room.deliveries(notification_id=ntf.id)
        }

    def test_a_receiver_that_is_gone_switches_its_notifier_off(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        receiver.status = 410
        room.fail_renewal(room.certificate())
        room.deliver()
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert not view.enabled
        assert "410" in view.state_reason
        assert "notifier.gone" in room.tags()
        room.fail_renewal(room.certificate("w2.example.com"))
        room.deliver()
        assert len(receiver.received) == 1


class TestUnavailable:
    @pytest.mark.spec("06/NTF-3", "01/NTF-1", "01/NTF-01")
    def test_a_disabled_notifier_never_yields_sent(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        room.call("notifiers.update", notifier_id=hook.id, body={"enabled": False})
        room.deliver()
        (delivery,) = room.deliveries()
        assert delivery.state is DeliveryState.SUPPRESSED
        assert delivery.reason is Reason.NOTIFIER_DISABLED
        assert delivery.attempts == 0
        assert receiver.received == []
        assert "notification.suppressed" in room.tags()
        assert room.counts()["suppressed"] == 1

    def test_a_whole_backlog_of_a_disabled_notifier_is_suppressed_in_one_run(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        for number in range(12):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        room.call("notifiers.update", notifier_id=hook.id, body={"enabled": False})
        room.deliver()
        assert {item.state for item in room.deliveries()} == {DeliveryState.SUPPRESSED}

    @pytest.mark.spec("06/NTF-3", "06/SEC-5")
    def test_one_that_cannot_start_waits_and_costs_no_attempt(
        self, room: Room, receiver: Receiver
    ) -> None:
        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        with room.units.begin() as uow:
            _set_config(uow, hook.id, {"url": "no url"})
        room.notifiers.close()
        for _ in range(10):
            room.deliver()
            room.clock.advance(timedelta(minutes=5))
        (delivery,) = room.deliveries()
        assert (delivery.state, delivery.attempts) == (DeliveryState.RETRYING, 0)
        view = room.call("notifiers.get", notifier_id=hook.id)
        assert view.state == "unavailable"

    @pytest.mark.spec("06/NET-10", "06/NTF-2")
    def test_an_open_breaker_costs_no_attempt(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        receiver.status = 503
        for number in range(12):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        room.deliver()
        tried = [item for item in room.deliveries() if item.attempts]
        assert len(tried) == len(receiver.received) < 12
        receiver.status = 204
        for _ in range(4):
            room.clock.advance(timedelta(minutes=2))
            room.deliver()
        assert {item.state for item in room.deliveries()} == {DeliveryState.SENT}


class TestLanes:
    @pytest.mark.spec("06/NTF-4")
    def test_a_stuck_notifier_does_not_delay_another(
        self, room: Room, receiver_of: Callable[[], Receiver]
    ) -> None:
        stuck, quick = receiver_of(), receiver_of()
        room.webhook(stuck, "Stuck")
        room.webhook(quick, "Quick")
        stuck.open.clear()
        for number in range(3):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
            room.worker.run()
            assert quick.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert stuck.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert len(quick.received) == 3
        stuck.open.set()
        room.deliver()
        assert len(stuck.received) == 3

    def test_a_lane_is_four_wide(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        for number in range(40):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        receiver.open.clear()
        for _ in range(6):
            room.worker.run()
        for _ in range(4):
            assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert not receiver.arrived.acquire(timeout=0.2)
        receiver.open.set()
        room.deliver()
        assert len(receiver.received) == 40

    @pytest.mark.spec("06/NTF-5")
    def test_a_process_that_dies_while_sending_is_replaced_when_its_lease_ends(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        room.fail_renewal(room.certificate())
        with room.units.begin() as uow:
            _claim(uow, room.deliveries()[0].notifier_id)
        assert room.deliveries()[0].state is DeliveryState.SENDING
        room.deliver()
        assert receiver.received == []

        room.clock.advance(timedelta(seconds=121))
        room.deliver()

        (delivery,) = room.deliveries()
        assert (delivery.state, delivery.attempts) == (DeliveryState.SENT, 2)
        assert len(receiver.received) == 1

    @pytest.mark.spec("06/NTF-5")
    def test_an_outcome_that_comes_too_late_changes_nothing(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        room.fail_renewal(room.certificate())
        receiver.open.clear()
        room.worker.run()
        assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS)
        # The hand of the wall alone: the first request has a deadline of its own, by the other one.
        room.clock.set(room.clock.now() + timedelta(seconds=121))
        other = room.new_worker("two")
        other.run()
        assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS)
        receiver.open.set()
        room.worker.run(wait=PATIENCE)
        other.run(wait=PATIENCE)
        (delivery,) = room.deliveries()
        assert (delivery.state, delivery.attempts) == (DeliveryState.SENT, 2)
        assert room.tags().count("notification.sent") == 1

    def test_a_stopped_worker_finishes_what_it_sends_and_claims_no_more(
        self, room: Room, receiver: Receiver
    ) -> None:
        room.webhook(receiver)
        for number in range(8):
            room.fail_renewal(room.certificate(f"w{number}.example.com"))
        receiver.on_receive = lambda: setattr(room.worker, "_stopping", True)
        room.worker.run()
        assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert room.worker.stop(PATIENCE)
        states = [item.state for item in room.deliveries()]
        assert set(states) == {DeliveryState.SENT, DeliveryState.QUEUED}
        assert states.count(DeliveryState.SENT) == len(receiver.received)
        other = room.new_worker("two")
        deliver(other, wait=PATIENCE)
        assert {item.state for item in room.deliveries()} == {DeliveryState.SENT}
        assert len(receiver.received) == 8


def _set_config(uow: object, notifier_id: str, config: dict[str, object]) -> None:
    from certctl_core.insight.notifications._tables import notifiers

    uow.execute(  # type: ignore[attr-defined]
        notifiers.update()
        .where(notifiers.c.id == notifier_id)
        .values(config=config, revision=notifiers.c.revision + 1)
    )


def _claim(uow: object, notifier_id: str) -> None:
    from certctl_core.insight.notifications import queue

    queue.claim(
        uow,  # type: ignore[arg-type]
        notifier_id,
        limit=5,
        holder="dead-process",
        lease=timedelta(seconds=120),
    )
