"""Tables ``agents`` and ``agent_enrollment_tokens``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.fleet.agents.types import AgentStatus
from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata

_STATUSES = ", ".join(f"'{status.value}'" for status in AgentStatus)
_ACTIVE = sa.text("retired_at IS NULL")

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("os", sa.String(64), nullable=False),
    sa.Column("architecture", sa.String(64), nullable=False),
    sa.Column("ip_address", sa.String(64), nullable=False),
    sa.Column("agent_version", sa.String(64), nullable=False),
    sa.Column("labels", JSONDocument, nullable=False),
    sa.Column("capabilities", JSONDocument, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("last_heartbeat_at", UTCDateTime, nullable=True),
    sa.Column("started_at", UTCDateTime, nullable=True),
    sa.Column("boot_id", sa.String(64), nullable=False),
    sa.Column("policy_digest", sa.String(64), nullable=False),
    sa.Column("recovery_pending", sa.Integer, nullable=False),
    sa.Column("failed_deployments", sa.Integer, nullable=False),
    sa.Column("clock_skew_seconds", sa.Float, nullable=True),
    # SHA-256 in hex: enough for 256 bits of randomness, never the credential itself.
    sa.Column("credential_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("previous_hash", sa.String(64), nullable=True, unique=True),
    sa.Column("previous_expires_at", UTCDateTime, nullable=True),
    sa.Column("credential_rotated_at", UTCDateTime, nullable=False),
    sa.Column("token_id", sa.String(128), nullable=True),
    sa.Column("registered_at", UTCDateTime, nullable=False),
    sa.Column("retired_at", UTCDateTime, nullable=True),
    sa.Column("retired_reason", sa.Text, nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"status IN ({_STATUSES})", name="status"),
    # A retired name is free again.
    sa.Index(
        "uq_agents_active_name",
        "name",
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    ),
    sa.Index("ix_agents_registered_at_id", "registered_at", "id"),
    sa.Index("ix_agents_name_id", "name", "id"),
    sa.Index("ix_agents_hostname_id", "hostname", "id"),
    sa.Index("ix_agents_status_id", "status", "id"),
    sa.Index(
        "ix_agents_silent",
        "last_heartbeat_at",
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    ),
)

agent_enrollment_tokens = sa.Table(
    "agent_enrollment_tokens",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("label", sa.String(128), nullable=False),
    sa.Column("max_uses", sa.Integer, nullable=False),
    sa.Column("uses", sa.Integer, nullable=False),
    sa.Column("agent_labels", JSONDocument, nullable=False),
    sa.Column("name_pattern", sa.String(128), nullable=True),
    sa.Column("source_cidrs", JSONDocument, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    # The database itself refuses a use too many (AGT-05).
    sa.CheckConstraint("uses BETWEEN 0 AND max_uses", name="uses"),
    sa.Index("ix_agent_enrollment_tokens_created_at_id", "created_at", "id"),
)
