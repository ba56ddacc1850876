"""Tables ``targets`` and ``certificate_targets``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.fleet.targets.types import TestStatus
from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata

_STATUSES = ", ".join(f"'{status.value}'" for status in TestStatus)
_ACTIVE = sa.text("retired_at IS NULL")

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column(
        "agent_id",
        sa.String(128),
        sa.ForeignKey("agents.id", ondelete="RESTRICT"),
        nullable=False,
    ),
    # What is not secret, as plain JSON; and each secret field as a sealed envelope (06 SEC-1).
    sa.Column("config", JSONDocument, nullable=False),
    sa.Column("secrets", JSONDocument, nullable=False),
    sa.Column("secrets_set_at", JSONDocument, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("test_status", sa.String(16), nullable=False),
    sa.Column("last_tested_at", UTCDateTime, nullable=True),
    sa.Column("last_result", JSONDocument, nullable=True),
    sa.Column("retired_at", UTCDateTime, nullable=True),
    sa.Column("retired_reason", sa.Text, nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"test_status IN ({_STATUSES})", name="test_status"),
    sa.Index(
        "uq_targets_active_name",
        "agent_id",
        "name",
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    ),
    sa.Index("ix_targets_created_at_id", "created_at", "id"),
    sa.Index("ix_targets_name_id", "name", "id"),
    sa.Index("ix_targets_kind_id", "kind", "id"),
)

certificate_targets = sa.Table(
    "certificate_targets",
    metadata,
    sa.Column(
        "certificate_id",
        sa.String(128),
        sa.ForeignKey("managed_certificates.id"),
        primary_key=True,
    ),
    sa.Column("target_id", sa.String(128), sa.ForeignKey("targets.id"), primary_key=True),
    sa.Column("auto_deploy", sa.Boolean, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Index("ix_certificate_targets_target_id", "target_id", "certificate_id"),
)
