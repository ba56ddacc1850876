"""The use cases of notifications, deliveries, notifiers and routes, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.contracts.host.registry import KindUnknown
from certctl_core.contracts.options import ConfigInvalid, SecretNeedsReentry
from certctl_core.insight.notifications.errors import (
    DeliveryNotFound,
    NothingDead,
    NotificationNotFound,
    NotifierCannotStart,
    NotifierChanged,
    NotifierIdTaken,
    NotifierInUse,
    NotifierKindUnavailable,
    NotifierManagedElsewhere,
    NotifierNameTaken,
    NotifierNotFound,
    NotifierTestFailed,
    RouteChanged,
    RouteNameTaken,
    RouteNotFound,
    UnknownNotifierKind,
)
from certctl_core.insight.notifications.inbox import DELIVERY_SORTS, NotificationService
from certctl_core.insight.notifications.inbox import SORTS as NOTIFICATION_SORTS
from certctl_core.insight.notifications.outbox import Outbox
from certctl_core.insight.notifications.routes import SORTS as ROUTE_SORTS
from certctl_core.insight.notifications.routes import RouteService
from certctl_core.insight.notifications.schemas import (
    CreatedNotifierView,
    CreateNotifier,
    CreateRoute,
    DeleteNotifierQuery,
    DeliveryQuery,
    DeliveryView,
    NotificationCountsView,
    NotificationDetails,
    NotificationQuery,
    NotificationStatusView,
    NotificationView,
    NotifierBody,
    NotifierKindView,
    NotifierQuery,
    NotifierReportView,
    NotifierView,
    PatchNotifier,
    PatchRoute,
    PreviewRoute,
    RouteBody,
    RoutePreviewView,
    RouteQuery,
    RouteView,
    TestNotifier,
    TryNotifier,
)
from certctl_core.insight.notifications.service import SORTS as NOTIFIER_SORTS
from certctl_core.insight.notifications.service import NotifierService
from certctl_core.insight.notifications.workflow import NotifierWorkflow
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import Invalid
from certctl_core.kernel.operations import Call, Operation, Page, Resource, Transaction
from certctl_core.lifecycle.certificates import CertificateNotFound

_NOTIFICATIONS = ("notifications",)
_NOTIFIERS = ("notifiers",)
_SAVE_ERRORS = (
    ConfigInvalid,
    NotifierCannotStart,
    NotifierChanged,
    NotifierKindUnavailable,
    NotifierManagedElsewhere,
    NotifierNameTaken,
    NotifierNotFound,
    SecretNeedsReentry,
)


def operations(
    *,
    notifications: NotificationService,
    notifiers: NotifierService,
    workflow: NotifierWorkflow,
    routes: RouteService,
    outbox: Outbox,
) -> tuple[Operation, ...]:
    """Declare notifications, deliveries, notifiers with their kinds and tests, and routes."""
    return (
        *_reading(notifications),
        *_marking(notifications),
        *_kinds(notifiers),
        *_notifiers(notifiers, workflow),
        *_testing(workflow),
        *_routes(routes, outbox),
    )


def _uow(call: Call) -> Uow:
    return cast("Uow", call.uow)


def _reading(service: NotificationService) -> tuple[Operation, ...]:
    def scope(call: Call) -> Resource:
        return service.resource(_uow(call), call.path["notification_id"])

    return (
        Operation(
            name="notifications.list",
            method="GET",
            path="/notifications",
            summary="List notifications",
            permission="notification.read",
            query=NotificationQuery,
            output=NotificationView,
            is_list=True,
            is_scoped=True,
            collection="notifications",
            sorts=tuple(NOTIFICATION_SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(
                _uow(call), cast("NotificationQuery", call.query), scopes=call.scopes
            ),
        ),
        Operation(
            name="notifications.counts",
            method="GET",
            path="/notifications/counts",
            summary="Count notifications",
            permission="notification.read",
            output=NotificationCountsView,
            transaction=Transaction.READ,
            run=lambda call: service.counts(_uow(call)),
        ),
        Operation(
            name="notifications.get",
            method="GET",
            path="/notifications/{notification_id}",
            summary="Show a notification with its deliveries",
            permission="notification.read",
            resource=scope,
            output=NotificationDetails,
            errors=(NotificationNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(_uow(call), call.path["notification_id"]),
        ),
        Operation(
            name="notification_deliveries.list",
            method="GET",
            path="/notification-deliveries",
            summary="List deliveries of notifications",
            permission="notification.read",
            query=DeliveryQuery,
            output=DeliveryView,
            is_list=True,
            is_scoped=True,
            collection="notification_deliveries",
            sorts=tuple(DELIVERY_SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.deliveries(
                _uow(call), cast("DeliveryQuery", call.query), scopes=call.scopes
            ),
            tags=_NOTIFICATIONS,
        ),
    )


def _marking(service: NotificationService) -> tuple[Operation, ...]:
    def scope(call: Call) -> Resource:
        return service.resource(_uow(call), call.path["notification_id"])

    def mark(verb: str, *, read: bool) -> Operation:
        return Operation(
            name=f"notifications.{verb}",
            method="POST",
            path=f"/notifications/{{notification_id}}/{verb}",
            summary=f"Mark a notification {verb}",
            permission="notification.read",
            resource=scope,
            output=NotificationStatusView,
            errors=(NotificationNotFound,),
            run=lambda call: service.mark(_uow(call), call.path["notification_id"], read=read),
        )

    return (
        mark("read", read=True),
        mark("unread", read=False),
        Operation(
            name="notifications.read_all",
            method="POST",
            path="/notifications/read-all",
            summary="Mark all notifications read",
            permission="notification.read",
            output=NotificationStatusView,
            run=lambda call: service.mark_all_read(_uow(call)),
        ),
        Operation(
            name="notifications.requeue",
            method="POST",
            path="/notifications/{notification_id}/requeue",
            summary="Send the deliveries of a notification again that were given up",
            permission="notification.edit",
            resource=scope,
            output=NotificationStatusView,
            errors=(NotificationNotFound, NothingDead),
            run=lambda call: service.requeue(_uow(call), call.path["notification_id"]),
        ),
        Operation(
            name="notification_deliveries.requeue",
            method="POST",
            path="/notification-deliveries/{delivery_id}/requeue",
            summary="Send a delivery again that was given up",
            permission="notification.edit",
            resource=lambda call: service.delivery_resource(_uow(call), call.path["delivery_id"]),
            output=NotificationStatusView,
            errors=(DeliveryNotFound, NothingDead),
            run=lambda call: service.requeue_delivery(_uow(call), call.path["delivery_id"]),
            tags=_NOTIFICATIONS,
        ),
    )


def _kinds(service: NotifierService) -> tuple[Operation, ...]:
    def kinds(_call: Call) -> Page[NotifierKindView]:
        listed = service.configs.kinds()
        return Page(data=listed, total=len(listed), size=max(1, len(listed)), number=1)

    return (
        Operation(
            name="notifier_types.list",
            method="GET",
            path="/notifier-types",
            summary="List the kinds of notifiers that are installed",
            permission="notifier.read",
            output=NotifierKindView,
            is_list=True,
            transaction=Transaction.READ,
            run=kinds,
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notifier_types.get",
            method="GET",
            path="/notifier-types/{kind}",
            summary="Show a kind of notifier with the schema of its configuration",
            permission="notifier.read",
            output=NotifierKindView,
            errors=(KindUnknown,),
            transaction=Transaction.READ,
            run=lambda call: service.configs.kind(call.path["kind"]),
            tags=_NOTIFIERS,
        ),
    )


def _notifiers(service: NotifierService, workflow: NotifierWorkflow) -> tuple[Operation, ...]:
    def key(call: Call) -> str:
        return call.path["notifier_id"]

    return (
        Operation(
            name="notifiers.list",
            method="GET",
            path="/notifiers",
            summary="List notifiers",
            permission="notifier.read",
            query=NotifierQuery,
            output=NotifierView,
            is_list=True,
            collection="notifiers",
            sorts=tuple(NOTIFIER_SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(_uow(call), cast("NotifierQuery", call.query)),
        ),
        Operation(
            name="notifiers.get",
            method="GET",
            path="/notifiers/{notifier_id}",
            summary="Show a notifier; secrets are not shown",
            permission="notifier.read",
            output=NotifierView,
            errors=(NotifierNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(_uow(call), key(call)),
        ),
        Operation(
            name="notifiers.create",
            method="POST",
            path="/notifiers",
            summary="Configure a notifier; secrets that are made for it are shown this once",
            permission="notifier.edit",
            body=CreateNotifier,
            output=CreatedNotifierView,
            status=201,
            errors=(
                ConfigInvalid,
                NotifierCannotStart,
                NotifierIdTaken,
                NotifierKindUnavailable,
                NotifierNameTaken,
                NotifierTestFailed,
                UnknownNotifierKind,
            ),
            transaction=Transaction.NONE,
            shows_secret=True,
            run=lambda call: workflow.create(
                cast("CreateNotifier", call.body), actor=call.actor, request_id=call.request_id
            ),
        ),
        Operation(
            name="notifiers.replace",
            method="PUT",
            path="/notifiers/{notifier_id}",
            summary="Replace a notifier's settings; omitted secrets are kept",
            permission="notifier.edit",
            body=NotifierBody,
            output=NotifierView,
            errors=_SAVE_ERRORS,
            transaction=Transaction.NONE,
            run=lambda call: workflow.replace(
                key(call),
                cast("NotifierBody", call.body),
                actor=call.actor,
                request_id=call.request_id,
                if_match=call.if_match,
            ),
        ),
        Operation(
            name="notifiers.update",
            method="PATCH",
            path="/notifiers/{notifier_id}",
            summary="Change some of a notifier's settings",
            permission="notifier.edit",
            body=PatchNotifier,
            output=NotifierView,
            errors=_SAVE_ERRORS,
            transaction=Transaction.NONE,
            run=lambda call: workflow.patch(
                key(call),
                cast("PatchNotifier", call.body),
                actor=call.actor,
                request_id=call.request_id,
                if_match=call.if_match,
            ),
        ),
        Operation(
            name="notifiers.delete",
            method="DELETE",
            path="/notifiers/{notifier_id}",
            summary="Delete a notifier that no route names",
            permission="notifier.delete",
            query=DeleteNotifierQuery,
            status=204,
            errors=(NotifierChanged, NotifierInUse, NotifierManagedElsewhere, NotifierNotFound),
            is_destructive=True,
            run=lambda call: service.delete(
                _uow(call),
                key(call),
                force=cast("DeleteNotifierQuery", call.query).force,
                if_match=call.if_match,
            ),
        ),
    )


def _testing(workflow: NotifierWorkflow) -> tuple[Operation, ...]:
    return (
        Operation(
            name="notifiers.test",
            method="POST",
            path="/notifiers/{notifier_id}/test",
            summary="Test a notifier: connect, or deliver a message that is marked as a test",
            permission="notifier.edit",
            body=TestNotifier,
            body_required=False,
            output=NotifierReportView,
            errors=(NotifierNotFound,),
            transaction=Transaction.NONE,
            run=lambda call: workflow.test(
                call.path["notifier_id"],
                send=cast("TestNotifier", call.body or TestNotifier()).send,
                actor=call.actor,
                request_id=call.request_id,
            ),
        ),
        Operation(
            name="notifiers.try",
            method="POST",
            path="/notifiers/test",
            summary="Test a configuration without saving it",
            permission="notifier.edit",
            body=TryNotifier,
            output=NotifierReportView,
            errors=(
                ConfigInvalid,
                NotifierKindUnavailable,
                NotifierNotFound,
                SecretNeedsReentry,
                UnknownNotifierKind,
            ),
            transaction=Transaction.NONE,
            run=lambda call: workflow.try_config(
                cast("TryNotifier", call.body), actor=call.actor, request_id=call.request_id
            ),
        ),
    )


def _routes(service: RouteService, outbox: Outbox) -> tuple[Operation, ...]:
    def key(call: Call) -> str:
        return call.path["route_id"]

    def preview(call: Call) -> RoutePreviewView:
        body = cast("PreviewRoute", call.body)
        return outbox.preview(
            _uow(call),
            event=body.event,
            severity=body.severity,
            certificate_id=body.certificate_id,
        )

    return (
        Operation(
            name="notification_routes.list",
            method="GET",
            path="/notification-routes",
            summary="List notification routes in the order they are looked at",
            permission="notifier.read",
            query=RouteQuery,
            output=RouteView,
            is_list=True,
            collection="notification_routes",
            sorts=tuple(ROUTE_SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(_uow(call), cast("RouteQuery", call.query)),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.get",
            method="GET",
            path="/notification-routes/{route_id}",
            summary="Show a notification route",
            permission="notifier.read",
            output=RouteView,
            errors=(RouteNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(_uow(call), key(call)),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.create",
            method="POST",
            path="/notification-routes",
            summary="Create a notification route",
            permission="notifier.edit",
            body=CreateRoute,
            output=RouteView,
            status=201,
            errors=(Invalid, RouteNameTaken),
            run=lambda call: service.create(_uow(call), cast("CreateRoute", call.body)),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.replace",
            method="PUT",
            path="/notification-routes/{route_id}",
            summary="Replace a notification route",
            permission="notifier.edit",
            body=RouteBody,
            output=RouteView,
            errors=(Invalid, RouteChanged, RouteNameTaken, RouteNotFound),
            run=lambda call: service.replace(
                _uow(call), key(call), cast("RouteBody", call.body), if_match=call.if_match
            ),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.update",
            method="PATCH",
            path="/notification-routes/{route_id}",
            summary="Change members of a notification route",
            permission="notifier.edit",
            body=PatchRoute,
            output=RouteView,
            errors=(Invalid, RouteChanged, RouteNameTaken, RouteNotFound),
            run=lambda call: service.patch(
                _uow(call), key(call), cast("PatchRoute", call.body), if_match=call.if_match
            ),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.delete",
            method="DELETE",
            path="/notification-routes/{route_id}",
            summary="Delete a notification route",
            permission="notifier.delete",
            status=204,
            errors=(RouteChanged, RouteNotFound),
            is_destructive=True,
            run=lambda call: service.delete(_uow(call), key(call), if_match=call.if_match),
            tags=_NOTIFIERS,
        ),
        Operation(
            name="notification_routes.preview",
            method="POST",
            path="/notification-routes/preview",
            summary="Show who would be told of an event",
            permission="notifier.read",
            body=PreviewRoute,
            output=RoutePreviewView,
            errors=(CertificateNotFound,),
            transaction=Transaction.READ,
            run=preview,
            tags=_NOTIFIERS,
        ),
    )
