"""Table ``certificate_profiles``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata

certificate_profiles = sa.Table(
    "certificate_profiles",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("allowed_key_algorithms", JSONDocument, nullable=False),
    sa.Column("max_ttl_seconds", sa.BigInteger, nullable=False),
    sa.Column("default_validity_seconds", sa.BigInteger, nullable=False),
    sa.Column("allowed_ekus", JSONDocument, nullable=False),
    sa.Column("required_san_patterns", JSONDocument, nullable=False),
    sa.Column("spiffe_uri_pattern", sa.String(512), nullable=False),
    sa.Column("allowed_subject_attributes", JSONDocument, nullable=False),
    sa.Column("allow_short_lived", sa.Boolean, nullable=False),
    sa.Column("must_staple", sa.Boolean, nullable=False),
    sa.Column("requires_approval", sa.Boolean, nullable=False),
    sa.Column("reuse_key", sa.Boolean, nullable=False),
    sa.Column("include_aia", sa.Boolean, nullable=False),
    sa.Column("include_cdp", sa.Boolean, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.Index("ix_certificate_profiles_created_at_id", "created_at", "id"),
)
