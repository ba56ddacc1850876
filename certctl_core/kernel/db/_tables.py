"""Tables that every room leans on: counters, version stamps, leases, idempotent answers."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db.base import metadata
from certctl_core.kernel.db.columns import JSONDocument, UTCDateTime

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("shard", sa.SmallInteger, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

stamps = sa.Table(
    "stamps",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("shard", sa.SmallInteger, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

leases = sa.Table(
    "scheduler_leases",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("holder", sa.String(128), nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("actor_id", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=True),
    sa.Column("body", JSONDocument, nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False, index=True),
)

instance = sa.Table(
    "instance",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
