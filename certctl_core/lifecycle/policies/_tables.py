"""Table ``renewal_policies``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata

renewal_policies = sa.Table(
    "renewal_policies",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("renewal_window_days", sa.Integer, nullable=False),
    sa.Column("renew_at_percent", sa.Integer, nullable=False),
    sa.Column("auto_renew", sa.Boolean, nullable=False),
    sa.Column("max_retries", sa.Integer, nullable=False),
    sa.Column("retry_interval_seconds", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("renewal_window_days BETWEEN 1 AND 365", name="window"),
    sa.CheckConstraint("renew_at_percent BETWEEN 1 AND 99", name="percent"),
    sa.Index("ix_renewal_policies_created_at_id", "created_at", "id"),
)
