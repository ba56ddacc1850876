"""Tables ``loop_states``, ``loop_runs`` and ``server_replicas``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata
from certctl_core.kernel.scheduler.types import RunResult

_RESULTS = ", ".join(f"'{result}'" for result in RunResult)

loop_states = sa.Table(
    "loop_states",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("interval_seconds", sa.Float, nullable=False),
    sa.Column("timeout_seconds", sa.Float, nullable=False),
    sa.Column("single_holder", sa.Boolean, nullable=False),
    sa.Column("requested_at", UTCDateTime, nullable=True),
    sa.Column("last_started_at", UTCDateTime, nullable=True),
    sa.Column("last_ended_at", UTCDateTime, nullable=True),
    sa.Column("last_success_at", UTCDateTime, nullable=True),
    sa.Column("last_result", sa.String(16), nullable=True),
    sa.Column("last_items", sa.Integer, nullable=True),
    sa.Column("last_error", sa.String(128), nullable=True),
    sa.Column("last_replica_id", sa.String(128), nullable=True),
    sa.CheckConstraint(f"last_result IN ({_RESULTS})", name="last_result"),
)

loop_runs = sa.Table(
    "loop_runs",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("loop", sa.String(64), nullable=False),
    sa.Column("replica_id", sa.String(128), nullable=False),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("ended_at", UTCDateTime, nullable=False),
    sa.Column("result", sa.String(16), nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("error", sa.String(128), nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=True),
    sa.CheckConstraint(f"result IN ({_RESULTS})", name="result"),
    sa.Index("ix_loop_runs_loop_id", "loop", "id"),
)

server_replicas = sa.Table(
    "server_replicas",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("heartbeat_at", UTCDateTime, nullable=False),
)
