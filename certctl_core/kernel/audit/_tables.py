"""Tables of the audit log. All but ``audit_keys`` and ``audit_verifications`` are append-only."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.audit.types import BreakReason
from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.kernel.events import Category


def _one_of(column: str, values: type[Category | ActorType | BreakReason]) -> str:
    words = ", ".join(f"'{value.value}'" for value in values)
    return f"{column} IN ({words})"


audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("timestamp", UTCDateTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("actor_type", sa.String(32), nullable=False),
    sa.Column("action", sa.String(128), nullable=False),
    sa.Column("event_category", sa.String(32), nullable=False),
    sa.Column("resource_type", sa.String(64), nullable=False),
    sa.Column("resource_id", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("details", JSONDocument, nullable=False),
    sa.Column("redacted_keys", JSONDocument, nullable=False),
    sa.CheckConstraint(_one_of("event_category", Category), name="event_category"),
    sa.CheckConstraint(_one_of("actor_type", ActorType), name="actor_type"),
    sa.Index("ix_audit_events_timestamp_id", "timestamp", "id"),
    sa.Index("ix_audit_events_actor_timestamp", "actor", "timestamp"),
    sa.Index("ix_audit_events_action_timestamp", "action", "timestamp"),
    sa.Index("ix_audit_events_resource_id_timestamp", "resource_id", "timestamp"),
)

audit_leaves = sa.Table(
    "audit_leaves",
    metadata,
    sa.Column("leaf_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_id", sa.String(128), nullable=False, unique=True),
    sa.Column("leaf_hash", sa.LargeBinary(32), nullable=False),
)

# Roots of complete subtrees of 256, 65,536 … leaves: with them a proof reads a few hundred rows,
# whatever the size of the log. They can be made again from the leaves.
audit_tiles = sa.Table(
    "audit_tiles",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("tile_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("node_hash", sa.LargeBinary(32), nullable=False),
)

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("tree_size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.String(255), nullable=False),
    sa.Column("root_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
)

audit_verifications = sa.Table(
    "audit_verifications",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("checked_at", UTCDateTime, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("is_full", sa.Boolean, nullable=False),
    sa.Column("from_index", sa.BigInteger, nullable=False),
    sa.Column("tree_size", sa.BigInteger, nullable=False),
    sa.Column("root_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("first_bad_index", sa.BigInteger, nullable=True),
    sa.Column("first_bad_event_id", sa.String(128), nullable=True),
    sa.CheckConstraint(_one_of("reason", BreakReason), name="reason"),
)

audit_keys = sa.Table(
    "audit_keys",
    metadata,
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("vkey", sa.String(512), nullable=False),
    sa.Column("signer", sa.String(32), nullable=False),
    sa.Column("key_ref", sa.Text, nullable=False),
    sa.Column("sealed_key", sa.Text, nullable=True),
    sa.Column("state", sa.String(16), nullable=False),
    # The checkpoint that it signed together with its predecessor; none for a first key.
    sa.Column("since_size", sa.BigInteger, nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("state IN ('active', 'retiring', 'retired')", name="state"),
    sa.Index(
        "uq_audit_keys_active",
        "state",
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    ),
)
