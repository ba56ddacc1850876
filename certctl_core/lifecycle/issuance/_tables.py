"""Table ``issuer_orders``: what was about to be signed, written down before it was (06 §4)."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.lifecycle.issuance.types import OPEN, OrderState

_STATES = ", ".join(repr(state.value) for state in OrderState)
_OPEN = ", ".join(repr(state.value) for state in OPEN)

issuer_orders = sa.Table(
    "issuer_orders",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("issuer_id", sa.String(128), nullable=False),
    sa.Column(
        "certificate_id", sa.String(128), sa.ForeignKey("managed_certificates.id"), nullable=False
    ),
    sa.Column("job_id", sa.String(128), nullable=True),
    sa.Column("agent_id", sa.String(128), nullable=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("idempotency_key", sa.String(64), nullable=False, unique=True),
    sa.Column("csr_sha256", sa.String(64), nullable=False),
    sa.Column("request", JSONDocument, nullable=False),
    sa.Column("decision", JSONDocument, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("vendor_ref", JSONDocument, nullable=True),
    sa.Column("message", sa.Text, nullable=True),
    sa.Column("rejected_pem", sa.Text, nullable=True),
    sa.Column("last_error", sa.Text, nullable=True),
    sa.Column("error_class", sa.String(32), nullable=True),
    sa.Column("lease_expires_at", UTCDateTime, nullable=True),
    sa.Column("result_version_id", sa.String(128), nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"state IN ({_STATES})", name="state"),
    sa.Index("ix_issuer_orders_created_at_id", "created_at", "id"),
    sa.Index("ix_issuer_orders_certificate_id", "certificate_id", "csr_sha256"),
    sa.Index(
        "uq_issuer_orders_open",
        "certificate_id",
        "csr_sha256",
        unique=True,
        postgresql_where=sa.text(f"state IN ({_OPEN})"),
        sqlite_where=sa.text(f"state IN ({_OPEN})"),
    ),
)
