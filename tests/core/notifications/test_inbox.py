"""Lists, counts, read marks, retention, and the routes as objects (06 §9)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from certctl_core.insight.notifications import (
    DeliveryNotFound,
    NothingDead,
    NotificationNotFound,
    RouteChanged,
    RouteNameTaken,
    RouteNotFound,
)
from certctl_core.insight.notifications.loops import purge
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.errors import CertctlError, Invalid, NotFound
from certctl_core.people.access import ScopeType
from tests.core.notifications.conftest import Receiver, Room

HOUR = timedelta(hours=1)


@pytest.fixture
def three(room: Room) -> list[str]:
    """Three notifications, an hour apart; their certificates, oldest first."""
    ids = []
    for name in ("a", "b", "c"):
        certificate_id = room.certificate(f"{name}.example.com")
        room.fail_renewal(certificate_id)
        ids.append(certificate_id)
        room.clock.advance(HOUR)
    return ids


class TestLists:
    def test_the_newest_comes_first(self, room: Room, three: list[str]) -> None:
        assert [item.certificate_id for item in room.notifications()] == three[::-1]

    def test_filters(self, room: Room, three: list[str]) -> None:
        start = room.clock.now() - 3 * HOUR

        def found(**query: Any) -> list[str]:
            return [item.certificate_id for item in room.notifications(sort="created_at", **query)]

        assert found(certificate_id=three[1]) == [three[1]]
        assert found(event="renewal.failed", severity="warning") == three
        assert found(severity="critical") == []
        assert found(since=start + HOUR, until=start + 2 * HOUR) == [three[1]]
        assert found(status="suppressed") == three
        assert found(status="dead") == []
        assert found(q="B.EXAMPLE") == [three[1]]
        room.call("notifications.read", notification_id=room.notifications()[0].id)
        assert found(status="read") == [three[2]]
        assert found(unread=True) == three[:2]

    def test_the_total_is_true_whichever_way_it_is_counted(
        self, room: Room, three: list[str]
    ) -> None:
        for query in ({}, {"unread": True}, {"status": "suppressed"}, {"event": "renewal.failed"}):
            assert room.call("notifications.list", query=query).total == len(three)
        first = room.notifications()[0]
        room.call("notifications.read", notification_id=first.id)
        assert room.call("notifications.list", query={"unread": True}).total == 2

    def test_cursors_walk_everything(self, room: Room, three: list[str]) -> None:
        seen, cursor = [], None
        while True:
            query = {"page_size": 1, **({"cursor": cursor} if cursor else {})}
            page = room.call("notifications.list", query=query)
            seen += [item.certificate_id for item in page.data]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == three[::-1]

    def test_a_scoped_reader_sees_its_own(self, room: Room, three: list[str]) -> None:
        scoped = Actor(type=ActorType.API_KEY, id="ak-scoped")
        with room.units.begin() as uow:
            room.core.rooms.access.grant(
                uow,
                actor_type=ActorType.API_KEY,
                actor_id=scoped.id,
                role_id="r-viewer",
                scope_type=ScopeType.ISSUER,
                scope_id="iss-local",
            )
        room.fail_renewal("mc-unknown")
        assert room.call("notifications.list", actor=scoped).total == len(three)
        own, foreign = room.notifications(q="a.example")[0], room.notifications(q="mc-unknown")[0]
        assert room.call("notifications.get", actor=scoped, notification_id=own.id).id == own.id
        with pytest.raises(CertctlError):
            room.call("notifications.get", actor=scoped, notification_id=foreign.id)

    def test_any_id_is_found(self, room: Room, three: list[str]) -> None:
        oldest = room.notifications()[-1]
        details = room.call("notifications.get", notification_id=oldest.id)
        assert details.certificate_id == three[0]
        assert details.data["error_code"] == "upstream_timeout"
        with pytest.raises(NotificationNotFound):
            room.call("notifications.get", notification_id="ntf-none")

    def test_deliveries_filter(self, room: Room, receiver: Receiver) -> None:
        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        room.deliver()
        assert len(room.deliveries(notifier_id=hook.id, state="sent")) == 1
        assert room.deliveries(notifier_id="nfr-other") == []
        assert room.deliveries(state="dead") == []


class TestMarks:
    @pytest.mark.spec("06/NTF-6", "01/NTF-2")
    def test_reading_and_unreading(self, room: Room, three: list[str]) -> None:
        first = room.notifications()[0]
        answer = room.call("notifications.read", notification_id=first.id)
        assert (answer.status, answer.changed) == ("marked_as_read", 1)
        assert room.call("notifications.read", notification_id=first.id).changed == 0
        shown = room.call("notifications.get", notification_id=first.id)
        assert (shown.read_at, shown.read_by) == (room.clock.now(), "test")
        assert room.counts()["unread"] == 2
        room.call("notifications.unread", notification_id=first.id)
        assert room.counts()["unread"] == 3

    def test_all_at_once(self, room: Room, three: list[str]) -> None:
        assert room.call("notifications.read_all").changed == 3
        assert room.counts() == {"all": 3, "unread": 0, "dead": 0, "suppressed": 3}

    @pytest.mark.parametrize("verb", ["read", "unread", "requeue"])
    def test_an_unknown_one_is_not_found(self, room: Room, verb: str) -> None:
        with pytest.raises(NotificationNotFound):
            room.call(f"notifications.{verb}", notification_id="ntf-none")


class TestRequeue:
    def test_nothing_dead_is_a_conflict(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        room.fail_renewal(room.certificate())
        room.deliver()
        with pytest.raises(NothingDead):
            room.call("notifications.requeue", notification_id=room.notifications()[0].id)
        delivery_id = room.deliveries()[0].id
        with pytest.raises(NothingDead):
            room.call("notification_deliveries.requeue", delivery_id=delivery_id)
        with pytest.raises(DeliveryNotFound):
            room.call("notification_deliveries.requeue", delivery_id="nd-none")

    def test_one_delivery_by_itself(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        receiver.status = 400
        room.fail_renewal(room.certificate())
        room.deliver()
        receiver.status = 200
        (dead,) = room.deliveries(state="dead")
        room.call("notification_deliveries.requeue", delivery_id=dead.id)
        room.deliver()
        assert room.deliveries(state="sent")[0].id == dead.id


class TestRetention:
    @pytest.mark.spec("06/NTF-7")
    def test_old_ones_go_with_their_deliveries(self, room: Room, receiver: Receiver) -> None:
        room.webhook(receiver)
        room.fail_renewal(room.certificate("old.example.com"))
        room.deliver()
        room.call("notifications.read_all")
        room.clock.advance(timedelta(days=179))
        room.fail_renewal(room.certificate("new.example.com"))
        room.deliver()
        retention = timedelta(days=180)
        assert purge(room.units, room.inbox, older_than=retention) == 0
        room.clock.advance(timedelta(days=2))
        assert purge(room.units, room.inbox, older_than=retention) == 1
        assert [item.title for item in room.notifications()] == ["Renewal failed: new.example.com"]
        assert len(room.deliveries()) == 1
        assert room.counts() == {"all": 1, "unread": 1, "dead": 0, "suppressed": 0}

    def test_a_delivery_to_a_notifier_that_is_gone_is_cancelled(
        self, room: Room, receiver: Receiver
    ) -> None:
        from certctl_core.insight.notifications._tables import notifiers

        hook = room.webhook(receiver)
        room.fail_renewal(room.certificate())
        with room.units.begin() as uow:
            uow.execute(notifiers.delete().where(notifiers.c.id == hook.id))
        purge(room.units, room.inbox, older_than=timedelta(days=180))
        assert room.deliveries()[0].state == "cancelled"


class TestRoutesAsObjects:
    def test_the_default_route_is_made_once(self, room: Room) -> None:
        (made,) = room.call("notification_routes.list").data
        assert (made.id, made.notifiers) == ("nr-default", ["*"])
        assert made.match.severities == ["warning", "critical"]
        room.call("notification_routes.delete", route_id=made.id)
        with room.units.begin() as uow:
            room.routes.seed(uow)
        assert room.call("notification_routes.list").total == 0

    def test_a_patch_changes_what_it_names(self, room: Room) -> None:
        body = {"name": "R", "priority": 5, "match": {"environments": ["production"]}}
        made = room.call("notification_routes.create", body=body)
        view = room.call(
            "notification_routes.update",
            route_id=made.id,
            body={"match": {"severities": ["critical"]}, "continue": False},
            if_match=1,
        )
        assert (view.priority, view.continues, view.version) == (5, False, 2)
        assert view.match.environments == ["production"]
        assert view.match.severities == ["critical"]
        assert view.model_dump()["continue"] is False
        (event,) = [e.event for e in room.emitted if e.event.tag == "notification_route.updated"]
        assert event.details()["fields"] == ["continues", "match"]
        with pytest.raises(RouteChanged):
            room.call(
                "notification_routes.update", route_id=made.id, body={"priority": 1}, if_match=1
            )
        patch = {"match": {"environments": 7}}
        with pytest.raises(ValidationError):
            room.call("notification_routes.update", route_id=made.id, body=patch)

    def test_routes_are_listed_in_the_order_of_evaluation(self, room: Room) -> None:
        for name, priority in (("Late", 2000), ("Early", 1)):
            room.call("notification_routes.create", body={"name": name, "priority": priority})
        names = [item.name for item in room.call("notification_routes.list").data]
        assert names == ["Early", "Everything from warning on", "Late"]

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"match": {"events": ["certificate.exploded"]}}, "match.events"),
            ({"match": {"events": ["nothing.*"]}}, "match.events"),
            ({"notifiers": ["nfr-none"]}, "notifiers"),
        ],
        ids=["unknown_event", "unknown_noun", "unknown_notifier"],
    )
    def test_a_slip_is_refused(self, room: Room, members: dict[str, Any], field: str) -> None:
        with pytest.raises(Invalid) as caught:
            room.call("notification_routes.create", body={"name": "R"} | members)
        assert [item.field for item in caught.value.fields] == [field]

    def test_names_are_unique(self, room: Room) -> None:
        made = room.call("notification_routes.create", body={"name": "R"})
        with pytest.raises(RouteNameTaken):
            room.call("notification_routes.create", body={"name": "R"})
        room.call("notification_routes.create", body={"name": "S"})
        with pytest.raises(RouteNameTaken):
            room.call("notification_routes.replace", route_id=made.id, body={"name": "S"})

    @pytest.mark.parametrize("verb", ["get", "delete", "update"])
    def test_an_unknown_one_is_not_found(self, room: Room, verb: str) -> None:
        body: dict[str, Any] = {"body": {"priority": 1}} if verb == "update" else {}
        with pytest.raises(RouteNotFound):
            room.call(f"notification_routes.{verb}", route_id="nr-none", **body)

    def test_a_preview_of_an_unknown_certificate_is_not_found(self, room: Room) -> None:
        body = {"event": "renewal.failed", "certificate_id": "mc-none"}
        with pytest.raises(NotFound):
            room.call("notification_routes.preview", body=body)
