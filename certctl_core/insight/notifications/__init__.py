"""Notifications: people and systems are told what happened, durably and once."""

from __future__ import annotations

from certctl_core.insight.notifications.delivery import DeliveryRules, DeliveryWorker
from certctl_core.insight.notifications.errors import (
    DeliveryNotFound,
    NothingDead,
    NotificationNotFound,
    NotifierCannotStart,
    NotifierChanged,
    NotifierDisabled,
    NotifierIdTaken,
    NotifierInUse,
    NotifierKindUnavailable,
    NotifierManagedElsewhere,
    NotifierNameTaken,
    NotifierNotFound,
    NotifierTestFailed,
    NotifierUnavailable,
    RouteChanged,
    RouteNameTaken,
    RouteNotFound,
    UnknownNotifierKind,
)
from certctl_core.insight.notifications.events import OWN_TAGS
from certctl_core.insight.notifications.inbox import NotificationService
from certctl_core.insight.notifications.instances import NotifierParts
from certctl_core.insight.notifications.outbox import Outbox
from certctl_core.insight.notifications.routes import RouteCache, RouteService
from certctl_core.insight.notifications.schemas import (
    CreatedNotifierView,
    CreateNotifier,
    CreateRoute,
    DeliveryView,
    NotificationCountsView,
    NotificationDetails,
    NotificationQuery,
    NotificationView,
    NotifierQuery,
    NotifierReportView,
    NotifierView,
    RouteBody,
    RouteView,
)
from certctl_core.insight.notifications.service import NotifierService
from certctl_core.insight.notifications.types import (
    ALL_NOTIFIERS,
    DeliveryState,
    NotificationStatus,
    NotifierHealth,
    NotifierSource,
    NotifierState,
    Reason,
)
from certctl_core.insight.notifications.workflow import NotifierWorkflow

__all__ = [
    "ALL_NOTIFIERS",
    "OWN_TAGS",
    "CreateNotifier",
    "CreateRoute",
    "CreatedNotifierView",
    "DeliveryNotFound",
    "DeliveryRules",
    "DeliveryState",
    "DeliveryView",
    "DeliveryWorker",
    "NothingDead",
    "NotificationCountsView",
    "NotificationDetails",
    "NotificationNotFound",
    "NotificationQuery",
    "NotificationService",
    "NotificationStatus",
    "NotificationView",
    "NotifierCannotStart",
    "NotifierChanged",
    "NotifierDisabled",
    "NotifierHealth",
    "NotifierIdTaken",
    "NotifierInUse",
    "NotifierKindUnavailable",
    "NotifierManagedElsewhere",
    "NotifierNameTaken",
    "NotifierNotFound",
    "NotifierParts",
    "NotifierQuery",
    "NotifierReportView",
    "NotifierService",
    "NotifierSource",
    "NotifierState",
    "NotifierTestFailed",
    "NotifierUnavailable",
    "NotifierView",
    "NotifierWorkflow",
    "Outbox",
    "Reason",
    "RouteBody",
    "RouteCache",
    "RouteChanged",
    "RouteNameTaken",
    "RouteNotFound",
    "RouteService",
    "RouteView",
    "UnknownNotifierKind",
]
