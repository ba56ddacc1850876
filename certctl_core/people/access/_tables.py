"""Tables ``roles``, ``role_permissions`` and ``grants``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("is_system", sa.Boolean, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
)

role_permissions = sa.Table(
    "role_permissions",
    metadata,
    sa.Column(
        "role_id", sa.String(128), sa.ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("permission", sa.String(64), primary_key=True),
    sa.Column("scope_type", sa.String(16), primary_key=True),
    sa.Column("scope_id", sa.String(128), primary_key=True),
)
"""``scope_id`` is empty, not NULL, for the global scope: NULLs would not be unique."""

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("actor_type", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(128), nullable=False),
    sa.Column(
        "role_id", sa.String(128), sa.ForeignKey("roles.id", ondelete="RESTRICT"), nullable=False
    ),
    sa.Column("scope_type", sa.String(16), nullable=False),
    sa.Column("scope_id", sa.String(128), nullable=False),
    sa.Column("source", sa.String(128), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("granted_by", sa.String(128), nullable=False),
    sa.Column("granted_at", UTCDateTime, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=True),
    sa.CheckConstraint("scope_type IN ('global', 'profile', 'issuer')", name="scope_type"),
    sa.CheckConstraint("(scope_type = 'global') = (scope_id = '')", name="scope_id"),
    sa.UniqueConstraint(
        "actor_type", "actor_id", "role_id", "scope_type", "scope_id", "source", name="grant"
    ),
)
