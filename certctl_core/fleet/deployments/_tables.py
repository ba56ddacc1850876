"""Table ``deployments``: one row per reported attempt."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.deploy import Outcome
from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata

_OUTCOMES = ", ".join(f"'{outcome.value}'" for outcome in Outcome)

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("job_id", sa.String(128), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column(
        "certificate_id", sa.String(128), sa.ForeignKey("managed_certificates.id"), nullable=False
    ),
    sa.Column("version_id", sa.String(128), nullable=False),
    # No foreign key: the history of a deleted target stays.
    sa.Column("target_id", sa.String(128), nullable=False),
    sa.Column("agent_id", sa.String(128), nullable=False),
    sa.Column("outcome", sa.String(24), nullable=False),
    sa.Column("error_code", sa.String(64), nullable=True),
    sa.Column("error_message", sa.Text, nullable=True),
    sa.Column("address", sa.String(1024), nullable=False),
    sa.Column("fingerprint_sha256", sa.String(64), nullable=False),
    sa.Column("stages", JSONDocument, nullable=False),
    sa.Column("verification", JSONDocument, nullable=False),
    sa.Column("rollback", JSONDocument, nullable=False),
    sa.Column("details", JSONDocument, nullable=False),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("started_at", UTCDateTime, nullable=True),
    sa.Column("finished_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"outcome IN ({_OUTCOMES})", name="outcome"),
    sa.UniqueConstraint("job_id", "attempt"),
    sa.Index("ix_deployments_certificate_id_finished_at", "certificate_id", "finished_at", "id"),
    sa.Index("ix_deployments_target_id_finished_at", "target_id", "finished_at", "id"),
)
