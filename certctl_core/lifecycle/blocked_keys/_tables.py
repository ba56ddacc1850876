"""Tables ``blocked_keys``, ``blocked_key_lists`` and ``blocked_key_list_parts``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata
from certctl_core.lifecycle.blocked_keys.types import BlockSource
from certctl_core.pki.key_marks import KeyMark

_SOURCES = ", ".join(repr(source.value) for source in BlockSource)
_MARKS = ", ".join(repr(mark.value) for mark in KeyMark)

blocked_keys = sa.Table(
    "blocked_keys",
    metadata,
    sa.Column("spki_sha256", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("certificate_id", sa.String(128), nullable=True),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"source IN ({_SOURCES})", name="source"),
    sa.Index("ix_blocked_keys_created_at", "created_at", "spki_sha256"),
)

blocked_key_lists = sa.Table(
    "blocked_key_lists",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("mark", sa.String(32), nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"mark IN ({_MARKS})", name="mark"),
    sa.Index("ix_blocked_key_lists_created_at", "created_at", "name"),
)

blocked_key_list_parts = sa.Table(
    "blocked_key_list_parts",
    metadata,
    sa.Column(
        "list_name",
        sa.String(64),
        sa.ForeignKey("blocked_key_lists.name", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("prefix", sa.Integer, primary_key=True, autoincrement=False),
    # The digests that begin with these 12 bits: sorted, of one length, end to end.
    sa.Column("digests", sa.LargeBinary, nullable=False),
)
