"""What can go wrong with notifiers, routes and notifications."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    Unavailable,
    Unprocessable,
)


class NotifierNotFound(NotFound):
    """There is no notifier of that id; data: ``notifier_id``."""

    code = "notifier_not_found"
    text = "There is no notifier {notifier_id}."


class UnknownNotifierKind(Invalid):
    """No installed plugin has that kind or alias; data: ``kind``."""

    code = "unknown_notifier_kind"
    text = "There is no notifier kind '{kind}'."
    hint = "GET /notifier-types lists the kinds that are installed."


class NotifierKindUnavailable(Unprocessable):
    """The plugin is installed and cannot be loaded; data: ``kind``, ``reason``."""

    code = "notifier_kind_unavailable"
    text = "Notifiers of kind '{kind}' cannot be used here: {reason}."


class NotifierNameTaken(Conflict):
    """Another notifier has the name; data: ``name``."""

    code = "notifier_name_taken"
    text = "There is already a notifier named '{name}'."


class NotifierIdTaken(Conflict):
    """Another notifier has the id; data: ``notifier_id``."""

    code = "notifier_id_taken"
    text = "There is already a notifier {notifier_id}."


class NotifierManagedElsewhere(Conflict):
    """The row comes from the environment or a file; data: ``notifier_id``, ``source``."""

    code = "notifier_managed_elsewhere"
    text = "Notifier {notifier_id} is managed by its {source} and cannot be changed here."
    hint = "Change it where it is declared, then restart."


class NotifierInUse(Conflict):
    """Routes name the notifier, or deliveries wait for it; member ``counts``."""

    code = "notifier_in_use"
    text = "Notifier {notifier_id} is in use."
    hint = "Take it out of the routes; ?force=true cancels the deliveries that wait for it."
    members = ("counts",)


class NotifierChanged(PreconditionFailed):
    """Somebody else changed the notifier first; data: ``notifier_id``."""

    code = "precondition_failed"
    text = "Notifier {notifier_id} has changed since you read it."


class NotifierTestFailed(Unprocessable):
    """The test that was asked for failed, nothing was saved; member ``report``."""

    code = "notifier_test_failed"
    text = "The test of the notifier failed; nothing was saved."
    members = ("report",)


class NotifierCannotStart(Unprocessable):
    """The configuration is valid in form, and the notifier still cannot be built from it."""

    code = "notifier_cannot_start"
    text = "The notifier cannot start with this configuration: {reason}"


class NotifierUnavailable(Unavailable):
    """The stored notifier cannot be loaded here; data: ``notifier_id``, ``reason``."""

    code = "notifier_unavailable"
    text = "Notifier {notifier_id} is unavailable: {reason}."


class NotifierDisabled(Conflict):
    """The notifier is switched off; data: ``notifier_id``."""

    code = "notifier_disabled"
    text = "Notifier {notifier_id} is disabled."


class RouteNotFound(NotFound):
    """There is no notification route of that id; data: ``route_id``."""

    code = "notification_route_not_found"
    text = "There is no notification route {route_id}."


class RouteNameTaken(Conflict):
    """Another route has the name or the id; data: ``name``."""

    code = "notification_route_name_taken"
    text = "There is already a notification route '{name}'."


class RouteChanged(PreconditionFailed):
    """Somebody else changed the route first; data: ``route_id``."""

    code = "precondition_failed"
    text = "Notification route {route_id} has changed since you read it."


class NotificationNotFound(NotFound):
    """There is no notification of that id; data: ``notification_id``."""

    code = "notification_not_found"
    text = "There is no notification {notification_id}."


class DeliveryNotFound(NotFound):
    """There is no delivery of that id; data: ``delivery_id``."""

    code = "notification_delivery_not_found"
    text = "There is no notification delivery {delivery_id}."


class NothingDead(Conflict):
    """Only dead deliveries can be sent again; there is none."""

    code = "nothing_dead"
    text = "There is no failed delivery to send again."
    hint = "What is still being tried needs no help; what was sent is not sent twice."
