"""Tables ``managed_certificates`` and ``certificate_versions``."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.db import JSONDocument, UTCDateTime, metadata
from certctl_core.lifecycle.certificates.types import KeyScope, Source, Status


def _one_of(column: str, values: type[Status | Source | KeyScope]) -> str:
    return f"{column} IN ({', '.join(repr(member.value) for member in values)})"


managed_certificates = sa.Table(
    "managed_certificates",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("common_name", sa.String(253), nullable=False),
    sa.Column("sans", JSONDocument, nullable=False),
    sa.Column("status", sa.String(24), nullable=False),
    sa.Column("issuer_id", sa.String(128), sa.ForeignKey("issuers.id"), nullable=False),
    sa.Column(
        "certificate_profile_id",
        sa.String(128),
        sa.ForeignKey("certificate_profiles.id"),
        nullable=True,
    ),
    sa.Column(
        "renewal_policy_id", sa.String(128), sa.ForeignKey("renewal_policies.id"), nullable=True
    ),
    sa.Column("environment", sa.String(50), nullable=False),
    sa.Column("tags", JSONDocument, nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("key_scope", sa.String(16), nullable=False),
    sa.Column("managed_renewal", sa.Boolean, nullable=False),
    sa.Column("expires_at", UTCDateTime, nullable=True),
    sa.Column("last_renewal_at", UTCDateTime, nullable=True),
    sa.Column("last_deployment_at", UTCDateTime, nullable=True),
    sa.Column("next_renewal_at", UTCDateTime, nullable=True),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    sa.Column("revocation_reason", sa.String(32), nullable=True),
    sa.Column("last_error", sa.Text, nullable=True),
    sa.Column("current_version_id", sa.String(128), nullable=True),
    sa.Column("search_text", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint(_one_of("status", Status), name="status"),
    sa.CheckConstraint(_one_of("source", Source), name="source"),
    sa.CheckConstraint(_one_of("key_scope", KeyScope), name="key_scope"),
    sa.Index("ix_managed_certificates_created_at_id", "created_at", "id"),
    sa.Index("ix_managed_certificates_updated_at_id", "updated_at", "id"),
    sa.Index("ix_managed_certificates_common_name_id", "common_name", "id"),
    sa.Index("ix_managed_certificates_expires_at_id", "expires_at", "id"),
    sa.Index("ix_managed_certificates_status_id", "status", "id"),
    sa.Index("ix_managed_certificates_issuer_id_id", "issuer_id", "id"),
    sa.Index(
        "ix_managed_certificates_due",
        "next_renewal_at",
        "id",
        postgresql_where=sa.text(
            "next_renewal_at IS NOT NULL AND status IN ('Active','Expiring','Expired','Failed')"
        ),
        sqlite_where=sa.text(
            "next_renewal_at IS NOT NULL AND status IN ('Active','Expiring','Expired','Failed')"
        ),
    ),
)

certificate_versions = sa.Table(
    "certificate_versions",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column(
        "certificate_id", sa.String(128), sa.ForeignKey("managed_certificates.id"), nullable=False
    ),
    sa.Column("serial_number", sa.String(64), nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=False),
    sa.Column("not_after", UTCDateTime, nullable=False),
    sa.Column("fingerprint_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("spki_sha256", sa.String(64), nullable=False),
    sa.Column("cert_der", sa.LargeBinary, nullable=False),
    sa.Column("chain_pem", sa.Text, nullable=False),
    sa.Column("csr_pem", sa.Text, nullable=True),
    sa.Column("key_algorithm", sa.String(32), nullable=False),
    sa.Column("key_size", sa.Integer, nullable=False),
    sa.Column("issuer_id", sa.String(128), nullable=False),
    sa.Column("ca_key_id", sa.String(40), nullable=True),
    sa.Column("is_current", sa.Boolean, nullable=False),
    sa.Column("agent_id", sa.String(128), nullable=True),
    sa.Column("job_id", sa.String(128), nullable=True),
    sa.Column("order_id", sa.String(128), nullable=True),
    sa.Column("vendor_ref", JSONDocument, nullable=True),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Index("ix_certificate_versions_certificate_id_created_at", "certificate_id", "created_at"),
    sa.Index("ix_certificate_versions_serial_number", "serial_number"),
    sa.Index("ix_certificate_versions_created_at", "created_at"),
    sa.Index("ix_certificate_versions_spki_sha256", "spki_sha256"),
    sa.Index(
        "uq_certificate_versions_issuer_ca_serial",
        "issuer_id",
        "ca_key_id",
        "serial_number",
        unique=True,
    ),
)
