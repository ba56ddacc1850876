"""``issuers`` and ``issuer_state`` (06 §3.1). Private to this room."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.lifecycle.issuers.types import (
    IssuerHealth,
    IssuerSource,
    IssuerState,
    TestStatus,
)


def _one_of(column: str, values: Iterable[StrEnum]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


issuers = sa.Table(
    "issuers",
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
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False, index=True),
    sa.Column("updated_at", UTCDateTime, nullable=False, index=True),
    _one_of("source", IssuerSource),
    _one_of("state", IssuerState),
    _one_of("health", IssuerHealth),
    _one_of("test_status", TestStatus),
)

issuer_state = sa.Table(
    "issuer_state",
    metadata,
    sa.Column(
        "issuer_id",
        sa.String(128),
        sa.ForeignKey("issuers.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(128), primary_key=True),
    # A sealed envelope bound to this row: ACME account keys and vendor tokens live here.
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
)
