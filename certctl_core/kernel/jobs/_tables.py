"""Table ``jobs``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.kernel.jobs.types import OPEN, JobStatus, VerificationStatus


def _quoted(values: list[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_UNFINISHED = (
    f"status IN ({_quoted(sorted(OPEN))}) OR (status = 'Failed' AND next_attempt_at IS NOT NULL)"
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("type_group", sa.String(64), nullable=False),
    sa.Column("subject_type", sa.String(64), nullable=False),
    sa.Column("subject_id", sa.String(128), nullable=False),
    sa.Column("subject_key", sa.String(512), nullable=False),
    sa.Column("payload", JSONDocument, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("status_changed_at", UTCDateTime, nullable=False),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("scheduled_at", UTCDateTime, nullable=False),
    sa.Column("next_attempt_at", UTCDateTime, nullable=True),
    sa.Column("started_at", UTCDateTime, nullable=True),
    sa.Column("completed_at", UTCDateTime, nullable=True),
    sa.Column("lease_owner", sa.String(128), nullable=True),
    sa.Column("lease_id", sa.String(64), nullable=True),
    sa.Column("lease_expires_at", UTCDateTime, nullable=True),
    sa.Column("last_error", sa.Text, nullable=True),
    sa.Column("error_code", sa.String(64), nullable=True),
    sa.Column("requested_by", sa.String(128), nullable=False),
    sa.Column("parent_job_id", sa.String(128), nullable=True),
    sa.Column("certificate_id", sa.String(128), nullable=True),
    sa.Column("target_id", sa.String(128), nullable=True),
    sa.Column("agent_id", sa.String(128), nullable=True),
    sa.Column("version_id", sa.String(128), nullable=True),
    sa.Column("order_id", sa.String(128), nullable=True),
    sa.Column("profile_id", sa.String(128), nullable=True),
    sa.Column("issuer_id", sa.String(128), nullable=True),
    sa.Column("result", JSONDocument, nullable=True),
    sa.Column("verification_status", sa.String(16), nullable=True),
    sa.Column("verified_at", UTCDateTime, nullable=True),
    sa.Column("expected_fingerprint", sa.String(64), nullable=True),
    sa.Column("verification_fingerprint", sa.String(64), nullable=True),
    sa.Column("verification_error", sa.Text, nullable=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"status IN ({_quoted(list(JobStatus))})", name="status"),
    sa.CheckConstraint(
        f"verification_status IN ({_quoted(list(VerificationStatus))})", name="verification_status"
    ),
    sa.CheckConstraint("status <> 'Pending' OR next_attempt_at IS NOT NULL", name="due"),
    sa.CheckConstraint("status <> 'Running' OR lease_id IS NOT NULL", name="lease"),
    # One open job per subject (spec 01 JOB-05).
    sa.Index(
        "uq_jobs_open_subject",
        "type_group",
        "subject_key",
        unique=True,
        sqlite_where=sa.text(_UNFINISHED),
        postgresql_where=sa.text(_UNFINISHED),
    ),
    # What a claim walks, in its order.
    sa.Index(
        "ix_jobs_claim",
        "owner",
        "priority",
        "scheduled_at",
        "id",
        sqlite_where=sa.text("status = 'Pending'"),
        postgresql_where=sa.text("status = 'Pending'"),
    ),
    sa.Index(
        "ix_jobs_lease",
        "lease_expires_at",
        sqlite_where=sa.text("status = 'Running'"),
        postgresql_where=sa.text("status = 'Running'"),
    ),
    sa.Index(
        "ix_jobs_retry",
        "next_attempt_at",
        sqlite_where=sa.text("status = 'Failed' AND next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'Failed' AND next_attempt_at IS NOT NULL"),
    ),
    sa.Index(
        "ix_jobs_waiting",
        "status",
        "status_changed_at",
        sqlite_where=sa.text("status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer')"),
        postgresql_where=sa.text("status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer')"),
    ),
    sa.Index("ix_jobs_created_at_id", "created_at", "id"),
    sa.Index("ix_jobs_status_created_at_id", "status", "created_at", "id"),
    *(
        sa.Index(
            f"ix_jobs_{name}",
            name,
            "created_at",
            "id",
            sqlite_where=sa.text(f"{name} IS NOT NULL"),
            postgresql_where=sa.text(f"{name} IS NOT NULL"),
        )
        for name in ("certificate_id", "target_id", "agent_id")
    ),
    # Room on each page for the claim and the finish of its rows.
    postgresql_with={"fillfactor": 70},
)
