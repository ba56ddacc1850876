"""Tables ``api_keys``, ``sessions``, ``session_signing_keys`` and ``bootstrap_state``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("previous_hash", sa.String(64), nullable=True, unique=True),
    sa.Column("previous_expires_at", UTCDateTime, nullable=True),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=True),
    sa.Column("last_used_at", UTCDateTime, nullable=True),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    sa.CheckConstraint("source IN ('local', 'config', 'bootstrap')", name="source"),
    sa.Index(
        "uq_api_keys_live_name",
        "name",
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
        sqlite_where=sa.text("revoked_at IS NULL"),
    ),
    sa.Index("ix_api_keys_created_at_id", "created_at", "id"),
)

session_signing_keys = sa.Table(
    "session_signing_keys",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("retired_at", UTCDateTime, nullable=True),
    sa.CheckConstraint("retired_at IS NULL OR retired_at >= created_at", name="retired"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("actor_id", sa.String(128), nullable=False),
    sa.Column("actor_type", sa.String(16), nullable=False),
    sa.Column("actor_label", sa.String(255), nullable=False),
    sa.Column(
        "signing_key_id",
        sa.String(128),
        sa.ForeignKey("session_signing_keys.id", ondelete="RESTRICT"),
        nullable=False,
    ),
    sa.Column("csrf_generation", sa.Integer, nullable=False),
    sa.Column("auth_method", sa.String(16), nullable=False),
    sa.Column("ip", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("last_seen_at", UTCDateTime, nullable=False),
    sa.Column("idle_expires_at", UTCDateTime, nullable=False),
    sa.Column("absolute_expires_at", UTCDateTime, nullable=False, index=True),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    sa.Index("ix_sessions_actor", "actor_type", "actor_id"),
)

bootstrap_state = sa.Table(
    "bootstrap_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("consumed_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("id = 1", name="single"),
)
