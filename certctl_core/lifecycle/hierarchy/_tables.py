"""``intermediate_cas`` (02 §9). Private to this room.

It does not refer to ``issuers``: the tree of a deleted issuer goes on publishing (02 PKI-3).
"""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.lifecycle.hierarchy.types import CAState

_STATES = ", ".join(f"'{state.value}'" for state in CAState)

intermediate_cas = sa.Table(
    "intermediate_cas",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("owning_issuer_id", sa.String(128), nullable=False),
    sa.Column("parent_ca_id", sa.String(128), sa.ForeignKey("intermediate_cas.id"), nullable=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cert_pem", sa.Text, nullable=True),
    # CAs between it and its parent that are no part of the tree; mostly empty.
    sa.Column("chain_pem", sa.Text, nullable=False),
    sa.Column("csr_pem", sa.Text, nullable=True),
    # Signer and reference of the key, never the key; NULL where the key is not here.
    sa.Column("key_driver_id", sa.Text, nullable=True),
    sa.Column("ca_key_id", sa.String(40), nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=True),
    sa.Column("not_after", UTCDateTime, nullable=True),
    sa.Column("path_len_constraint", sa.Integer, nullable=True),
    sa.Column("name_constraints", JSONDocument, nullable=False),
    sa.Column("ocsp_responder_url", sa.Text, nullable=True),
    sa.Column("metadata", JSONDocument, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(f"state IN ({_STATES})", name="state"),
    sa.CheckConstraint("not_after > not_before", name="validity"),
    sa.CheckConstraint("parent_ca_id <> id", name="parent"),
    sa.UniqueConstraint("owning_issuer_id", "name"),
    sa.UniqueConstraint("owning_issuer_id", "ca_key_id"),
)

_IS_ACTIVE_ROOT = sa.and_(
    intermediate_cas.c.parent_ca_id.is_(None),
    intermediate_cas.c.state == CAState.ACTIVE.value,
)

sa.Index(
    "uq_intermediate_cas_root",
    intermediate_cas.c.owning_issuer_id,
    unique=True,
    sqlite_where=_IS_ACTIVE_ROOT,
    postgresql_where=_IS_ACTIVE_ROOT,
)
sa.Index("ix_intermediate_cas_parent_ca_id", intermediate_cas.c.parent_ca_id)
