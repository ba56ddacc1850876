"""Tables of notifiers, routes, notifications and deliveries (06 §9). Private to this room."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import sqlalchemy as sa

from certctl_core.contracts.notifiers import AlertState, Severity
from certctl_core.insight.notifications.types import (
    OPEN,
    DeliveryState,
    NotificationStatus,
    NotifierHealth,
    NotifierSource,
    NotifierState,
    NotifierTestStatus,
    Reason,
)
from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata


def _words(values: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{value.value}'" for value in values)


def _one_of(column: str, values: Iterable[StrEnum]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({_words(values)})", name=column)


def _index(name: str, *columns: str, where: str | None = None) -> sa.Index:
    if where is None:
        return sa.Index(name, *columns)
    condition = sa.text(where)
    return sa.Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


IS_OPEN = f"state IN ({_words(sorted(OPEN))})"
"""The condition of the partial indexes; queries repeat it literally, so that they apply."""

notifiers = sa.Table(
    "notifiers",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False, index=True),
    # What is not secret, as plain JSON; and each secret field as a sealed envelope (06 SEC-1).
    sa.Column("config", JSONDocument, nullable=False),
    sa.Column("secrets", JSONDocument, nullable=False),
    sa.Column("secrets_set_at", JSONDocument, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    # Moves only when a running instance has to be built anew.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("state_reason", sa.Text, nullable=False),
    sa.Column("health", sa.String(16), nullable=False),
    sa.Column("test_status", sa.String(16), nullable=False),
    sa.Column("last_tested_at", UTCDateTime, nullable=True),
    sa.Column("last_test_report", JSONDocument, nullable=True),
    # When its last dead letter was told: at most one an hour (06 NTF-10).
    sa.Column("dead_letter_at", UTCDateTime, nullable=True),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False, index=True),
    sa.Column("updated_at", UTCDateTime, nullable=False, index=True),
    _one_of("source", NotifierSource),
    _one_of("state", NotifierState),
    _one_of("health", NotifierHealth),
    _one_of("test_status", NotifierTestStatus),
)

notifier_state = sa.Table(
    "notifier_state",
    metadata,
    sa.Column(
        "notifier_id",
        sa.String(128),
        sa.ForeignKey("notifiers.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(128), primary_key=True),
    # A sealed envelope bound to this row.
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
)

notification_routes = sa.Table(
    "notification_routes",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("match", JSONDocument, nullable=False),
    sa.Column("notifiers", JSONDocument, nullable=False),
    sa.Column("continues", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False, index=True),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.Index("ix_notification_routes_priority_id", "priority", "id"),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # How the deliveries stand together; kept by whoever changes one of them.
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=True),
    # No foreign keys to what it is about: a message outlives its subject.
    sa.Column("certificate_id", sa.String(128), nullable=True),
    sa.Column("version_id", sa.String(128), nullable=True),
    sa.Column("issuer_id", sa.String(128), nullable=True),
    sa.Column("profile_id", sa.String(128), nullable=True),
    sa.Column("title", sa.String(120), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("payload", JSONDocument, nullable=False),
    sa.Column("dedup_key", sa.String(512), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("read_at", UTCDateTime, nullable=True),
    sa.Column("read_by", sa.String(128), nullable=True),
    _one_of("severity", Severity),
    _one_of("state", AlertState),
    _one_of("status", NotificationStatus),
    _one_of("reason", Reason),
    _index("ix_notifications_created_at_id", "created_at", "id"),
    _index("ix_notifications_event_created_at", "event", "created_at"),
    _index("ix_notifications_status_created_at", "status", "created_at"),
    _index("ix_notifications_certificate_id_created_at", "certificate_id", "created_at"),
    _index("ix_notifications_unread", "created_at", "id", where="read_at IS NULL"),
)

deliveries = sa.Table(
    "notification_deliveries",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column(
        "notification_id",
        sa.String(128),
        sa.ForeignKey("notifications.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # No foreign key: a process that has not heard of a deletion yet must not fail the change that
    # it commits; such a delivery is cancelled.
    sa.Column("notifier_id", sa.String(128), nullable=False),
    sa.Column("dedup_key", sa.String(512), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    # When it may be claimed; while it is being sent, when it may be taken over.
    sa.Column("next_attempt_at", UTCDateTime, nullable=True),
    sa.Column("last_error", sa.Text, nullable=True),
    sa.Column("error_class", sa.String(32), nullable=True),
    sa.Column("provider_id", sa.String(255), nullable=True),
    sa.Column("detail", sa.String(500), nullable=True),
    sa.Column("sent_at", UTCDateTime, nullable=True),
    sa.Column("lease_owner", sa.String(128), nullable=True),
    sa.Column("lease_expires_at", UTCDateTime, nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False),
    _one_of("state", DeliveryState),
    _one_of("reason", Reason),
    _index("ix_notification_deliveries_created_at_id", "created_at", "id"),
    _index("ix_notification_deliveries_notifier_id_created_at", "notifier_id", "created_at"),
    _index("ix_notification_deliveries_state_created_at", "state", "created_at"),
    _index("ix_notification_deliveries_due", "notifier_id", "next_attempt_at", "id", where=IS_OPEN),
    _index("ix_notification_deliveries_order", "notifier_id", "dedup_key", "id", where=IS_OPEN),
)
