"""Foundation: the first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from certctl_core.app.schema import create_triggers
from certctl_core.kernel.db import JSONDocument, UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "agent_enrollment_tokens",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("max_uses", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("agent_labels", JSONDocument, nullable=False),
        sa.Column("name_pattern", sa.String(length=128), nullable=True),
        sa.Column("source_cidrs", JSONDocument, nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "uses BETWEEN 0 AND max_uses", name=op.f("ck_agent_enrollment_tokens_uses")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_enrollment_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_agent_enrollment_tokens_token_hash")),
    )
    op.create_index(
        "ix_agent_enrollment_tokens_created_at_id",
        "agent_enrollment_tokens",
        ["created_at", "id"],
        unique=False,
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("os", sa.String(length=64), nullable=False),
        sa.Column("architecture", sa.String(length=64), nullable=False),
        sa.Column("ip_address", sa.String(length=64), nullable=False),
        sa.Column("agent_version", sa.String(length=64), nullable=False),
        sa.Column("labels", JSONDocument, nullable=False),
        sa.Column("capabilities", JSONDocument, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("last_heartbeat_at", UTCDateTime(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("recovery_pending", sa.Integer(), nullable=False),
        sa.Column("failed_deployments", sa.Integer(), nullable=False),
        sa.Column("clock_skew_seconds", sa.Float(), nullable=True),
        sa.Column("credential_hash", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("previous_expires_at", UTCDateTime(), nullable=True),
        sa.Column("credential_rotated_at", UTCDateTime(), nullable=False),
        sa.Column("token_id", sa.String(length=128), nullable=True),
        sa.Column("registered_at", UTCDateTime(), nullable=False),
        sa.Column("retired_at", UTCDateTime(), nullable=True),
        sa.Column("retired_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('Online', 'Offline', 'Degraded')", name=op.f("ck_agents_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("credential_hash", name=op.f("uq_agents_credential_hash")),
        sa.UniqueConstraint("previous_hash", name=op.f("uq_agents_previous_hash")),
    )
    op.create_index("ix_agents_hostname_id", "agents", ["hostname", "id"], unique=False)
    op.create_index("ix_agents_name_id", "agents", ["name", "id"], unique=False)
    op.create_index("ix_agents_registered_at_id", "agents", ["registered_at", "id"], unique=False)
    op.create_index(
        "ix_agents_silent",
        "agents",
        ["last_heartbeat_at"],
        unique=False,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_index("ix_agents_status_id", "agents", ["status", "id"], unique=False)
    op.create_index(
        "uq_agents_active_name",
        "agents",
        ["name"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("previous_expires_at", UTCDateTime(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("last_used_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "source IN ('local', 'config', 'bootstrap')", name=op.f("ck_api_keys_source")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
        sa.UniqueConstraint("previous_hash", name=op.f("uq_api_keys_previous_hash")),
    )
    op.create_index("ix_api_keys_created_at_id", "api_keys", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_api_keys_live_name",
        "api_keys",
        ["name"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
        sqlite_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("tree_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("root_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("timestamp", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_type", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=128), nullable=False),
        sa.Column("event_category", sa.String(length=32), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("details", JSONDocument, nullable=False),
        sa.Column("redacted_keys", JSONDocument, nullable=False),
        sa.CheckConstraint(
            "actor_type IN ('user', 'api_key', 'agent', 'system', 'anonymous', 'acme_account')",
            name=op.f("ck_audit_events_actor_type"),
        ),
        sa.CheckConstraint(
            "event_category IN ('cert_lifecycle', 'auth', 'config')",
            name=op.f("ck_audit_events_event_category"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(
        "ix_audit_events_action_timestamp", "audit_events", ["action", "timestamp"], unique=False
    )
    op.create_index(
        "ix_audit_events_actor_timestamp", "audit_events", ["actor", "timestamp"], unique=False
    )
    op.create_index(
        "ix_audit_events_resource_id_timestamp",
        "audit_events",
        ["resource_id", "timestamp"],
        unique=False,
    )
    op.create_index(
        "ix_audit_events_timestamp_id", "audit_events", ["timestamp", "id"], unique=False
    )
    op.create_table(
        "audit_keys",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vkey", sa.String(length=512), nullable=False),
        sa.Column("signer", sa.String(length=32), nullable=False),
        sa.Column("key_ref", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since_size", sa.BigInteger(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'retiring', 'retired')", name=op.f("ck_audit_keys_state")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_audit_keys")),
    )
    op.create_index(
        "uq_audit_keys_active",
        "audit_keys",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "audit_leaves",
        sa.Column("leaf_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index", name=op.f("pk_audit_leaves")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_leaves_event_id")),
    )
    op.create_table(
        "audit_tiles",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tile_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "tile_index", name=op.f("pk_audit_tiles")),
    )
    op.create_table(
        "audit_verifications",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("checked_at", UTCDateTime(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("from_index", sa.BigInteger(), nullable=False),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("root_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("first_bad_index", sa.BigInteger(), nullable=True),
        sa.Column("first_bad_event_id", sa.String(length=128), nullable=True),
        sa.CheckConstraint(
            "reason IN ('event_missing', 'event_changed', 'leaf_missing', 'event_unsealed', 'node_changed', 'root_differs', 'checkpoint_invalid', 'log_truncated')",
            name=op.f("ck_audit_verifications_reason"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_verifications")),
    )
    op.create_table(
        "bootstrap_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("consumed_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_bootstrap_state_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bootstrap_state")),
    )
    op.create_table(
        "ca_issued_certificates",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("serial_number", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=True),
        sa.Column("profile_id", sa.String(length=128), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=False),
        sa.Column("fingerprint_sha256", sa.String(length=64), nullable=False),
        sa.Column("short_lived", sa.Boolean(), nullable=False),
        sa.Column("issued_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('leaf', 'ocsp_responder', 'sub_ca')",
            name=op.f("ck_ca_issued_certificates_kind"),
        ),
        sa.PrimaryKeyConstraint(
            "issuer_id", "ca_key_id", "serial_number", name=op.f("pk_ca_issued_certificates")
        ),
    )
    op.create_index(
        "ix_ca_issued_certificates_certificate_id",
        "ca_issued_certificates",
        ["certificate_id"],
        unique=False,
        sqlite_where=sa.text("certificate_id IS NOT NULL"),
        postgresql_where=sa.text("certificate_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ca_issued_certificates_issuer_id_not_after",
        "ca_issued_certificates",
        ["issuer_id", "not_after"],
        unique=False,
    )
    op.create_table(
        "ca_keys",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("cert_pem", sa.Text(), nullable=False),
        sa.Column("chain_pem", sa.Text(), nullable=False),
        sa.Column("cross_pem", sa.Text(), nullable=False),
        sa.Column("signer", sa.String(length=32), nullable=False),
        sa.Column("key_ref", sa.Text(), nullable=True),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=False),
        sa.Column("first_seen_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("member_id", sa.String(length=128), nullable=True),
        sa.Column("ocsp_url", sa.Text(), nullable=True),
        sa.Column("warned_days", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "origin IN ('generated', 'file', 'tree')", name=op.f("ck_ca_keys_origin")
        ),
        sa.CheckConstraint(
            "state IN ('current', 'member', 'previous', 'compromised', 'retired')",
            name=op.f("ck_ca_keys_state"),
        ),
        sa.CheckConstraint("not_after > not_before", name=op.f("ck_ca_keys_validity")),
        sa.PrimaryKeyConstraint("issuer_id", "ca_key_id", name=op.f("pk_ca_keys")),
    )
    op.create_index("ix_ca_keys_ca_key_id", "ca_keys", ["ca_key_id"], unique=False)
    op.create_index(
        "uq_ca_keys_current",
        "ca_keys",
        ["issuer_id"],
        unique=True,
        sqlite_where=sa.text("state = 'current'"),
        postgresql_where=sa.text("state = 'current'"),
    )
    op.create_table(
        "intermediate_cas",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("owning_issuer_id", sa.String(length=128), nullable=False),
        sa.Column("parent_ca_id", sa.String(length=128), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cert_pem", sa.Text(), nullable=True),
        sa.Column("chain_pem", sa.Text(), nullable=False),
        sa.Column("csr_pem", sa.Text(), nullable=True),
        sa.Column("key_driver_id", sa.Text(), nullable=True),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=True),
        sa.Column("not_after", UTCDateTime(), nullable=True),
        sa.Column("path_len_constraint", sa.Integer(), nullable=True),
        sa.Column("name_constraints", JSONDocument, nullable=False),
        sa.Column("ocsp_responder_url", sa.Text(), nullable=True),
        sa.Column("metadata", JSONDocument, nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('created', 'active', 'retiring', 'retired', 'revoked')",
            name=op.f("ck_intermediate_cas_state"),
        ),
        sa.CheckConstraint("not_after > not_before", name=op.f("ck_intermediate_cas_validity")),
        sa.CheckConstraint("parent_ca_id <> id", name=op.f("ck_intermediate_cas_parent")),
        sa.ForeignKeyConstraint(
            ["parent_ca_id"],
            ["intermediate_cas.id"],
            name=op.f("fk_intermediate_cas_parent_ca_id_intermediate_cas"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intermediate_cas")),
        sa.UniqueConstraint(
            "owning_issuer_id",
            "ca_key_id",
            name=op.f("uq_intermediate_cas_owning_issuer_id_ca_key_id"),
        ),
        sa.UniqueConstraint(
            "owning_issuer_id", "name", name=op.f("uq_intermediate_cas_owning_issuer_id_name")
        ),
    )
    op.create_index(
        "ix_intermediate_cas_parent_ca_id", "intermediate_cas", ["parent_ca_id"], unique=False
    )
    op.create_index(
        "uq_intermediate_cas_root",
        "intermediate_cas",
        ["owning_issuer_id"],
        unique=True,
        sqlite_where=sa.text("parent_ca_id IS NULL AND state = 'active'"),
        postgresql_where=sa.text("parent_ca_id IS NULL AND state = 'active'"),
    )
    op.create_table(
        "certificate_profiles",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("allowed_key_algorithms", JSONDocument, nullable=False),
        sa.Column("max_ttl_seconds", sa.BigInteger(), nullable=False),
        sa.Column("default_validity_seconds", sa.BigInteger(), nullable=False),
        sa.Column("allowed_ekus", JSONDocument, nullable=False),
        sa.Column("required_san_patterns", JSONDocument, nullable=False),
        sa.Column("spiffe_uri_pattern", sa.String(length=512), nullable=False),
        sa.Column("allowed_subject_attributes", JSONDocument, nullable=False),
        sa.Column("allow_short_lived", sa.Boolean(), nullable=False),
        sa.Column("must_staple", sa.Boolean(), nullable=False),
        sa.Column("requires_approval", sa.Boolean(), nullable=False),
        sa.Column("reuse_key", sa.Boolean(), nullable=False),
        sa.Column("include_aia", sa.Boolean(), nullable=False),
        sa.Column("include_cdp", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_profiles")),
        sa.UniqueConstraint("name", name=op.f("uq_certificate_profiles_name")),
    )
    op.create_index(
        "ix_certificate_profiles_created_at_id",
        "certificate_profiles",
        ["created_at", "id"],
        unique=False,
    )
    op.create_table(
        "certificate_revocations",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=False),
            nullable=False,
        ),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=True),
        sa.Column("version_id", sa.String(length=128), nullable=True),
        sa.Column("serial_number", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("reason_code", sa.SmallInteger(), nullable=False),
        sa.Column("invalidity_date", UTCDateTime(), nullable=True),
        sa.Column("revoked_by", sa.String(length=128), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=False),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("issuer_notified", sa.Boolean(), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=False),
        sa.Column("on_crl", sa.Boolean(), nullable=False),
        sa.Column("entry_der", sa.LargeBinary(), nullable=True),
        sa.Column("listed_in", sa.BigInteger(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_certificate_revocations")),
        sa.UniqueConstraint("id", name=op.f("uq_certificate_revocations_id")),
        sa.UniqueConstraint("issuer_id", "ca_key_id", "serial_number", name="serial"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_certificate_revocations_ca",
        "certificate_revocations",
        ["issuer_id", "ca_key_id", "seq"],
        unique=False,
    )
    op.create_index(
        "ix_certificate_revocations_new",
        "certificate_revocations",
        ["issuer_id", "ca_key_id", "seq"],
        unique=False,
        postgresql_where=sa.text("listed_in IS NULL AND on_crl"),
        sqlite_where=sa.text("listed_in IS NULL AND on_crl"),
    )
    op.create_index(
        "ix_certificate_revocations_listed",
        "certificate_revocations",
        ["issuer_id", "ca_key_id", "listed_in"],
        unique=False,
    )
    op.create_index(
        "ix_certificate_revocations_untold",
        "certificate_revocations",
        ["revoked_at"],
        unique=False,
        postgresql_where=sa.text("NOT issuer_notified"),
        sqlite_where=sa.text("NOT issuer_notified"),
    )
    op.create_index(
        op.f("ix_certificate_revocations_certificate_id"),
        "certificate_revocations",
        ["certificate_id"],
        unique=False,
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "shard", name=op.f("pk_counters")),
    )
    op.create_table(
        "crl_cache",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("part", sa.String(length=16), server_default="", nullable=False),
        sa.Column("crl_der", sa.LargeBinary(), nullable=False),
        sa.Column("crl_number", sa.BigInteger(), nullable=False),
        sa.Column("this_update", UTCDateTime(), nullable=False),
        sa.Column("next_update", UTCDateTime(), nullable=False),
        sa.Column("generated_at", UTCDateTime(), nullable=False),
        sa.Column("generation_duration_ms", sa.Integer(), nullable=False),
        sa.Column("revoked_count", sa.Integer(), nullable=False),
        sa.Column("revocation_watermark", sa.String(length=64), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("issuer_id", "ca_key_id", "part", name=op.f("pk_crl_cache")),
    )
    op.create_index(op.f("ix_crl_cache_next_update"), "crl_cache", ["next_update"], unique=False)
    op.create_table(
        "crl_generation_events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=False),
            nullable=False,
        ),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("crl_number", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("revoked_count", sa.Integer(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("part", sa.String(length=16), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl_generation_events")),
    )
    op.create_index(
        "ix_crl_generation_events_issuer_started",
        "crl_generation_events",
        ["issuer_id", "started_at"],
        unique=False,
    )
    op.create_table(
        "crl_numbers",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("part", sa.String(length=16), server_default="", nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("last_this_update", UTCDateTime(), nullable=True),
        sa.Column("watermark", sa.String(length=64), nullable=True),
        sa.Column("earliest_end", UTCDateTime(), nullable=True),
        sa.Column("urls", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("issuer_id", "ca_key_id", "part", name=op.f("pk_crl_numbers")),
    )
    op.create_table(
        "crl_removals",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=False),
            nullable=False,
        ),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("serial_number", sa.String(length=64), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=False),
        sa.Column("listed_in", sa.BigInteger(), nullable=False),
        sa.Column("applied_in", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl_removals")),
    )
    op.create_index(
        "ix_crl_removals_ca",
        "crl_removals",
        ["issuer_id", "ca_key_id", "applied_in"],
        unique=False,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("actor_id", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", JSONDocument, nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("actor_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "instance",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_instance")),
    )
    op.create_table(
        "issuers",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("config", JSONDocument, nullable=False),
        sa.Column("secrets", JSONDocument, nullable=False),
        sa.Column("secrets_set_at", JSONDocument, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("test_status", sa.String(length=16), nullable=False),
        sa.Column("last_tested_at", UTCDateTime(), nullable=True),
        sa.Column("last_test_report", JSONDocument, nullable=True),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "health IN ('unknown', 'healthy', 'degraded', 'failing')",
            name=op.f("ck_issuers_health"),
        ),
        sa.CheckConstraint("source IN ('database', 'env', 'file')", name=op.f("ck_issuers_source")),
        sa.CheckConstraint(
            "state IN ('ready', 'unavailable', 'disabled')", name=op.f("ck_issuers_state")
        ),
        sa.CheckConstraint(
            "test_status IN ('untested', 'success', 'failed')", name=op.f("ck_issuers_test_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuers")),
        sa.UniqueConstraint("name", name=op.f("uq_issuers_name")),
    )
    op.create_index(op.f("ix_issuers_created_at"), "issuers", ["created_at"], unique=False)
    op.create_index(op.f("ix_issuers_kind"), "issuers", ["kind"], unique=False)
    op.create_index(op.f("ix_issuers_updated_at"), "issuers", ["updated_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("type_group", sa.String(length=64), nullable=False),
        sa.Column("subject_type", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.String(length=128), nullable=False),
        sa.Column("subject_key", sa.String(length=512), nullable=False),
        sa.Column("payload", JSONDocument, nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("status_changed_at", UTCDateTime(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("scheduled_at", UTCDateTime(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("completed_at", UTCDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_id", sa.String(length=64), nullable=True),
        sa.Column("lease_expires_at", UTCDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("parent_job_id", sa.String(length=128), nullable=True),
        sa.Column("certificate_id", sa.String(length=128), nullable=True),
        sa.Column("target_id", sa.String(length=128), nullable=True),
        sa.Column("agent_id", sa.String(length=128), nullable=True),
        sa.Column("version_id", sa.String(length=128), nullable=True),
        sa.Column("order_id", sa.String(length=128), nullable=True),
        sa.Column("profile_id", sa.String(length=128), nullable=True),
        sa.Column("issuer_id", sa.String(length=128), nullable=True),
        sa.Column("result", JSONDocument, nullable=True),
        sa.Column("verification_status", sa.String(length=16), nullable=True),
        sa.Column("verified_at", UTCDateTime(), nullable=True),
        sa.Column("expected_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("verification_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("verification_error", sa.Text(), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "status <> 'Pending' OR next_attempt_at IS NOT NULL", name=op.f("ck_jobs_due")
        ),
        sa.CheckConstraint(
            "status <> 'Running' OR lease_id IS NOT NULL", name=op.f("ck_jobs_lease")
        ),
        sa.CheckConstraint(
            "status IN ('Pending', 'Running', 'AwaitingCSR', 'AwaitingApproval', 'AwaitingIssuer', 'Completed', 'Failed', 'Cancelled')",
            name=op.f("ck_jobs_status"),
        ),
        sa.CheckConstraint(
            "verification_status IN ('pending', 'success', 'failed', 'skipped')",
            name=op.f("ck_jobs_verification_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_jobs_agent_id",
        "jobs",
        ["agent_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("agent_id IS NOT NULL"),
        postgresql_where=sa.text("agent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_certificate_id",
        "jobs",
        ["certificate_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("certificate_id IS NOT NULL"),
        postgresql_where=sa.text("certificate_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["owner", "priority", "scheduled_at", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'Pending'"),
        postgresql_where=sa.text("status = 'Pending'"),
    )
    op.create_index("ix_jobs_created_at_id", "jobs", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'Running'"),
        postgresql_where=sa.text("status = 'Running'"),
    )
    op.create_index(
        "ix_jobs_retry",
        "jobs",
        ["next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("status = 'Failed' AND next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'Failed' AND next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_status_created_at_id", "jobs", ["status", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_jobs_target_id",
        "jobs",
        ["target_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("target_id IS NOT NULL"),
        postgresql_where=sa.text("target_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["status", "status_changed_at"],
        unique=False,
        sqlite_where=sa.text("status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer')"),
        postgresql_where=sa.text("status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer')"),
    )
    op.create_index(
        "uq_jobs_open_subject",
        "jobs",
        ["type_group", "subject_key"],
        unique=True,
        sqlite_where=sa.text(
            "status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer', 'Pending', 'Running') OR (status = 'Failed' AND next_attempt_at IS NOT NULL)"
        ),
        postgresql_where=sa.text(
            "status IN ('AwaitingApproval', 'AwaitingCSR', 'AwaitingIssuer', 'Pending', 'Running') OR (status = 'Failed' AND next_attempt_at IS NOT NULL)"
        ),
    )
    op.create_table(
        "loop_runs",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("loop", sa.String(length=64), nullable=False),
        sa.Column("replica_id", sa.String(length=128), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("ended_at", UTCDateTime(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=128), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "result IN ('ok', 'failed', 'timed_out', 'stopped')", name=op.f("ck_loop_runs_result")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loop_runs")),
    )
    op.create_index("ix_loop_runs_loop_id", "loop_runs", ["loop", "id"], unique=False)
    op.create_table(
        "loop_states",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("interval_seconds", sa.Float(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=False),
        sa.Column("single_holder", sa.Boolean(), nullable=False),
        sa.Column("requested_at", UTCDateTime(), nullable=True),
        sa.Column("last_started_at", UTCDateTime(), nullable=True),
        sa.Column("last_ended_at", UTCDateTime(), nullable=True),
        sa.Column("last_success_at", UTCDateTime(), nullable=True),
        sa.Column("last_result", sa.String(length=16), nullable=True),
        sa.Column("last_items", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(length=128), nullable=True),
        sa.Column("last_replica_id", sa.String(length=128), nullable=True),
        sa.CheckConstraint(
            "last_result IN ('ok', 'failed', 'timed_out', 'stopped')",
            name=op.f("ck_loop_states_last_result"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_loop_states")),
    )
    op.create_table(
        "notification_routes",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("match", JSONDocument, nullable=False),
        sa.Column("notifiers", JSONDocument, nullable=False),
        sa.Column("continues", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_routes")),
        sa.UniqueConstraint("name", name=op.f("uq_notification_routes_name")),
    )
    op.create_index(
        op.f("ix_notification_routes_created_at"),
        "notification_routes",
        ["created_at"],
        unique=False,
    )
    op.create_index(
        "ix_notification_routes_priority_id",
        "notification_routes",
        ["priority", "id"],
        unique=False,
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("certificate_id", sa.String(length=128), nullable=True),
        sa.Column("version_id", sa.String(length=128), nullable=True),
        sa.Column("issuer_id", sa.String(length=128), nullable=True),
        sa.Column("profile_id", sa.String(length=128), nullable=True),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("payload", JSONDocument, nullable=False),
        sa.Column("dedup_key", sa.String(length=512), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("read_at", UTCDateTime(), nullable=True),
        sa.Column("read_by", sa.String(length=128), nullable=True),
        sa.CheckConstraint(
            "reason IN ('no_route', 'notifier_disabled', 'notifier_deleted')",
            name=op.f("ck_notifications_reason"),
        ),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("ck_notifications_severity")
        ),
        sa.CheckConstraint("state IN ('firing', 'resolved')", name=op.f("ck_notifications_state")),
        sa.CheckConstraint(
            "status IN ('pending', 'sent', 'failed', 'dead', 'suppressed')",
            name=op.f("ck_notifications_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(
        "ix_notifications_certificate_id_created_at",
        "notifications",
        ["certificate_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_notifications_created_at_id", "notifications", ["created_at", "id"], unique=False
    )
    op.create_index(
        "ix_notifications_event_created_at", "notifications", ["event", "created_at"], unique=False
    )
    op.create_index(
        "ix_notifications_status_created_at",
        "notifications",
        ["status", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_notifications_unread",
        "notifications",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL"),
        sqlite_where=sa.text("read_at IS NULL"),
    )
    op.create_table(
        "notifiers",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("config", JSONDocument, nullable=False),
        sa.Column("secrets", JSONDocument, nullable=False),
        sa.Column("secrets_set_at", JSONDocument, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("test_status", sa.String(length=16), nullable=False),
        sa.Column("last_tested_at", UTCDateTime(), nullable=True),
        sa.Column("last_test_report", JSONDocument, nullable=True),
        sa.Column("dead_letter_at", UTCDateTime(), nullable=True),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "health IN ('unknown', 'healthy', 'degraded', 'failing')",
            name=op.f("ck_notifiers_health"),
        ),
        sa.CheckConstraint(
            "source IN ('database', 'env', 'file')", name=op.f("ck_notifiers_source")
        ),
        sa.CheckConstraint(
            "state IN ('ready', 'unavailable', 'disabled')", name=op.f("ck_notifiers_state")
        ),
        sa.CheckConstraint(
            "test_status IN ('untested', 'success', 'failed')",
            name=op.f("ck_notifiers_test_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifiers")),
        sa.UniqueConstraint("name", name=op.f("uq_notifiers_name")),
    )
    op.create_index(op.f("ix_notifiers_created_at"), "notifiers", ["created_at"], unique=False)
    op.create_index(op.f("ix_notifiers_kind"), "notifiers", ["kind"], unique=False)
    op.create_index(op.f("ix_notifiers_updated_at"), "notifiers", ["updated_at"], unique=False)
    op.create_table(
        "ocsp_key_places",
        sa.Column("replica_id", sa.String(length=128), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("registered_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_ocsp_key_places")),
    )
    op.create_table(
        "ocsp_responder_certs",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("cert_subject", sa.Text(), nullable=False),
        sa.Column("serial_number", sa.String(length=64), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("key_path", sa.Text(), nullable=False),
        sa.Column("cert_pem", sa.Text(), nullable=False),
        sa.Column("key_alg", sa.String(length=32), nullable=False),
        sa.Column("key_enc", sa.Text(), nullable=True),
        sa.Column("rotated_from", sa.String(length=64), nullable=True),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("issuer_id", "ca_key_id", name=op.f("pk_ocsp_responder_certs")),
    )
    op.create_table(
        "ocsp_response_cache",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("serial_hex", sa.String(length=64), nullable=False),
        sa.Column("hash_alg", sa.String(length=16), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=False),
        sa.Column("response_der", sa.LargeBinary(), nullable=False),
        sa.Column("cert_status", sa.String(length=16), nullable=False),
        sa.Column("revocation_reason", sa.Integer(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("responder_serial", sa.String(length=64), nullable=False),
        sa.Column("this_update", UTCDateTime(), nullable=False),
        sa.Column("next_update", UTCDateTime(), nullable=False),
        sa.Column("generated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "cert_status IN ('good', 'revoked')", name=op.f("ck_ocsp_response_cache_cert_status")
        ),
        sa.PrimaryKeyConstraint(
            "issuer_id", "serial_hex", "hash_alg", name=op.f("pk_ocsp_response_cache")
        ),
    )
    op.create_index(
        op.f("ix_ocsp_response_cache_next_update"),
        "ocsp_response_cache",
        ["next_update"],
        unique=False,
    )
    op.create_table(
        "renewal_policies",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("renewal_window_days", sa.Integer(), nullable=False),
        sa.Column("renew_at_percent", sa.Integer(), nullable=False),
        sa.Column("auto_renew", sa.Boolean(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("retry_interval_seconds", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "renew_at_percent BETWEEN 1 AND 99", name=op.f("ck_renewal_policies_percent")
        ),
        sa.CheckConstraint(
            "renewal_window_days BETWEEN 1 AND 365", name=op.f("ck_renewal_policies_window")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renewal_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_renewal_policies_name")),
    )
    op.create_index(
        "ix_renewal_policies_created_at_id", "renewal_policies", ["created_at", "id"], unique=False
    )
    op.create_table(
        "blocked_keys",
        sa.Column("spki_sha256", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "source IN ('revocation', 'operator')", name=op.f("ck_blocked_keys_source")
        ),
        sa.PrimaryKeyConstraint("spki_sha256", name=op.f("pk_blocked_keys")),
    )
    op.create_index(
        "ix_blocked_keys_created_at", "blocked_keys", ["created_at", "spki_sha256"], unique=False
    )
    op.create_table(
        "blocked_key_lists",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("mark", sa.String(length=32), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "mark IN ('spki-sha256', 'openssl-blacklist', 'badkeys')",
            name=op.f("ck_blocked_key_lists_mark"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_blocked_key_lists")),
    )
    op.create_index(
        "ix_blocked_key_lists_created_at",
        "blocked_key_lists",
        ["created_at", "name"],
        unique=False,
    )
    op.create_table(
        "blocked_key_list_parts",
        sa.Column("list_name", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["list_name"],
            ["blocked_key_lists.name"],
            name=op.f("fk_blocked_key_list_parts_list_name_blocked_key_lists"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("list_name", "prefix", name=op.f("pk_blocked_key_list_parts")),
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_system", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("name", name=op.f("uq_roles_name")),
    )
    op.create_table(
        "scheduler_leases",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scheduler_leases")),
    )
    op.create_table(
        "server_replicas",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("heartbeat_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_replicas")),
    )
    op.create_table(
        "session_signing_keys",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("retired_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "retired_at IS NULL OR retired_at >= created_at",
            name=op.f("ck_session_signing_keys_retired"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_signing_keys")),
    )
    op.create_table(
        "stamps",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "shard", name=op.f("pk_stamps")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("actor_type", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=128), nullable=False),
        sa.Column("role_id", sa.String(length=128), nullable=False),
        sa.Column("scope_type", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.String(length=128), nullable=False),
        sa.Column("granted_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "(scope_type = 'global') = (scope_id = '')", name=op.f("ck_grants_scope_id")
        ),
        sa.CheckConstraint(
            "scope_type IN ('global', 'profile', 'issuer')", name=op.f("ck_grants_scope_type")
        ),
        sa.ForeignKeyConstraint(
            ["role_id"], ["roles.id"], name=op.f("fk_grants_role_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.UniqueConstraint(
            "actor_type", "actor_id", "role_id", "scope_type", "scope_id", "source", name="grant"
        ),
    )
    op.create_table(
        "issuer_state",
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_id"],
            ["issuers.id"],
            name=op.f("fk_issuer_state_issuer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("issuer_id", "key", name=op.f("pk_issuer_state")),
    )
    op.create_table(
        "managed_certificates",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("common_name", sa.String(length=253), nullable=False),
        sa.Column("sans", JSONDocument, nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("certificate_profile_id", sa.String(length=128), nullable=True),
        sa.Column("renewal_policy_id", sa.String(length=128), nullable=True),
        sa.Column("environment", sa.String(length=50), nullable=False),
        sa.Column("tags", JSONDocument, nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("key_scope", sa.String(length=16), nullable=False),
        sa.Column("managed_renewal", sa.Boolean(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("last_renewal_at", UTCDateTime(), nullable=True),
        sa.Column("last_deployment_at", UTCDateTime(), nullable=True),
        sa.Column("next_renewal_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("revocation_reason", sa.String(length=32), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("current_version_id", sa.String(length=128), nullable=True),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "key_scope IN ('per_agent', 'single_holder')",
            name=op.f("ck_managed_certificates_key_scope"),
        ),
        sa.CheckConstraint(
            "source IN ('API', 'Agent', 'ACME', 'EST', 'SCEP', 'Discovery', 'Import')",
            name=op.f("ck_managed_certificates_source"),
        ),
        sa.CheckConstraint(
            "status IN ('Pending', 'Active', 'Expiring', 'Expired', 'RenewalInProgress', 'Failed', 'Revoked', 'Archived')",
            name=op.f("ck_managed_certificates_status"),
        ),
        sa.ForeignKeyConstraint(
            ["certificate_profile_id"],
            ["certificate_profiles.id"],
            name=op.f("fk_managed_certificates_certificate_profile_id"),
        ),
        sa.ForeignKeyConstraint(
            ["issuer_id"], ["issuers.id"], name=op.f("fk_managed_certificates_issuer_id")
        ),
        sa.ForeignKeyConstraint(
            ["renewal_policy_id"],
            ["renewal_policies.id"],
            name=op.f("fk_managed_certificates_renewal_policy_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_managed_certificates")),
        sa.UniqueConstraint("name", name=op.f("uq_managed_certificates_name")),
    )
    op.create_index(
        "ix_managed_certificates_common_name_id",
        "managed_certificates",
        ["common_name", "id"],
        unique=False,
    )
    op.create_index(
        "ix_managed_certificates_created_at_id",
        "managed_certificates",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_managed_certificates_due",
        "managed_certificates",
        ["next_renewal_at", "id"],
        unique=False,
        postgresql_where=sa.text(
            "next_renewal_at IS NOT NULL AND status IN ('Active','Expiring','Expired','Failed')"
        ),
        sqlite_where=sa.text(
            "next_renewal_at IS NOT NULL AND status IN ('Active','Expiring','Expired','Failed')"
        ),
    )
    op.create_index(
        "ix_managed_certificates_expires_at_id",
        "managed_certificates",
        ["expires_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_managed_certificates_issuer_id_id",
        "managed_certificates",
        ["issuer_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_managed_certificates_status_id", "managed_certificates", ["status", "id"], unique=False
    )
    op.create_index(
        "ix_managed_certificates_updated_at_id",
        "managed_certificates",
        ["updated_at", "id"],
        unique=False,
    )
    op.create_table(
        "notification_deliveries",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("notification_id", sa.String(length=128), nullable=False),
        sa.Column("notifier_id", sa.String(length=128), nullable=False),
        sa.Column("dedup_key", sa.String(length=512), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("error_class", sa.String(length=32), nullable=True),
        sa.Column("provider_id", sa.String(length=255), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=True),
        sa.Column("sent_at", UTCDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_expires_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('no_route', 'notifier_disabled', 'notifier_deleted')",
            name=op.f("ck_notification_deliveries_reason"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'retrying', 'sent', 'dead', 'cancelled', 'suppressed')",
            name=op.f("ck_notification_deliveries_state"),
        ),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
            name=op.f("fk_notification_deliveries_notification_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_deliveries")),
    )
    op.create_index(
        "ix_notification_deliveries_created_at_id",
        "notification_deliveries",
        ["created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_notification_deliveries_due",
        "notification_deliveries",
        ["notifier_id", "next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'retrying', 'sending')"),
        sqlite_where=sa.text("state IN ('queued', 'retrying', 'sending')"),
    )
    op.create_index(
        op.f("ix_notification_deliveries_notification_id"),
        "notification_deliveries",
        ["notification_id"],
        unique=False,
    )
    op.create_index(
        "ix_notification_deliveries_notifier_id_created_at",
        "notification_deliveries",
        ["notifier_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_notification_deliveries_order",
        "notification_deliveries",
        ["notifier_id", "dedup_key", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'retrying', 'sending')"),
        sqlite_where=sa.text("state IN ('queued', 'retrying', 'sending')"),
    )
    op.create_index(
        "ix_notification_deliveries_state_created_at",
        "notification_deliveries",
        ["state", "created_at"],
        unique=False,
    )
    op.create_table(
        "notifier_state",
        sa.Column("notifier_id", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["notifier_id"],
            ["notifiers.id"],
            name=op.f("fk_notifier_state_notifier_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("notifier_id", "key", name=op.f("pk_notifier_state")),
    )
    op.create_table(
        "role_permissions",
        sa.Column("role_id", sa.String(length=128), nullable=False),
        sa.Column("permission", sa.String(length=64), nullable=False),
        sa.Column("scope_type", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["role_id"], ["roles.id"], name=op.f("fk_role_permissions_role_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "role_id", "permission", "scope_type", "scope_id", name=op.f("pk_role_permissions")
        ),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("actor_id", sa.String(length=128), nullable=False),
        sa.Column("actor_type", sa.String(length=16), nullable=False),
        sa.Column("actor_label", sa.String(length=255), nullable=False),
        sa.Column("signing_key_id", sa.String(length=128), nullable=False),
        sa.Column("csrf_generation", sa.Integer(), nullable=False),
        sa.Column("auth_method", sa.String(length=16), nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("last_seen_at", UTCDateTime(), nullable=False),
        sa.Column("idle_expires_at", UTCDateTime(), nullable=False),
        sa.Column("absolute_expires_at", UTCDateTime(), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["signing_key_id"],
            ["session_signing_keys.id"],
            name=op.f("fk_sessions_signing_key_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(
        op.f("ix_sessions_absolute_expires_at"), "sessions", ["absolute_expires_at"], unique=False
    )
    op.create_index("ix_sessions_actor", "sessions", ["actor_type", "actor_id"], unique=False)
    op.create_table(
        "targets",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("agent_id", sa.String(length=128), nullable=False),
        sa.Column("config", JSONDocument, nullable=False),
        sa.Column("secrets", JSONDocument, nullable=False),
        sa.Column("secrets_set_at", JSONDocument, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("test_status", sa.String(length=16), nullable=False),
        sa.Column("last_tested_at", UTCDateTime(), nullable=True),
        sa.Column("last_result", JSONDocument, nullable=True),
        sa.Column("retired_at", UTCDateTime(), nullable=True),
        sa.Column("retired_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "test_status IN ('untested', 'success', 'failed', 'unsupported')",
            name=op.f("ck_targets_test_status"),
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_targets_agent_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )
    op.create_index("ix_targets_created_at_id", "targets", ["created_at", "id"], unique=False)
    op.create_index("ix_targets_kind_id", "targets", ["kind", "id"], unique=False)
    op.create_index("ix_targets_name_id", "targets", ["name", "id"], unique=False)
    op.create_index(
        "uq_targets_active_name",
        "targets",
        ["agent_id", "name"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "certificate_targets",
        sa.Column("certificate_id", sa.String(length=128), nullable=False),
        sa.Column("target_id", sa.String(length=128), nullable=False),
        sa.Column("auto_deploy", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["managed_certificates.id"],
            name=op.f("fk_certificate_targets_certificate_id"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_certificate_targets_target_id")
        ),
        sa.PrimaryKeyConstraint("certificate_id", "target_id", name=op.f("pk_certificate_targets")),
    )
    op.create_index(
        "ix_certificate_targets_target_id",
        "certificate_targets",
        ["target_id", "certificate_id"],
        unique=False,
    )
    op.create_table(
        "certificate_versions",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=False),
        sa.Column("serial_number", sa.String(length=64), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=False),
        sa.Column("fingerprint_sha256", sa.String(length=64), nullable=False),
        sa.Column("spki_sha256", sa.String(length=64), nullable=False),
        sa.Column("cert_der", sa.LargeBinary(), nullable=False),
        sa.Column("chain_pem", sa.Text(), nullable=False),
        sa.Column("csr_pem", sa.Text(), nullable=True),
        sa.Column("key_algorithm", sa.String(length=32), nullable=False),
        sa.Column("key_size", sa.Integer(), nullable=False),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("ca_key_id", sa.String(length=40), nullable=True),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("agent_id", sa.String(length=128), nullable=True),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("order_id", sa.String(length=128), nullable=True),
        sa.Column("vendor_ref", JSONDocument, nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["managed_certificates.id"],
            name=op.f("fk_certificate_versions_certificate_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_versions")),
        sa.UniqueConstraint(
            "fingerprint_sha256", name=op.f("uq_certificate_versions_fingerprint_sha256")
        ),
    )
    op.create_index(
        "ix_certificate_versions_certificate_id_created_at",
        "certificate_versions",
        ["certificate_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_certificate_versions_created_at", "certificate_versions", ["created_at"], unique=False
    )
    op.create_index(
        "ix_certificate_versions_serial_number",
        "certificate_versions",
        ["serial_number"],
        unique=False,
    )
    op.create_index(
        "ix_certificate_versions_spki_sha256", "certificate_versions", ["spki_sha256"], unique=False
    )
    op.create_index(
        "uq_certificate_versions_issuer_ca_serial",
        "certificate_versions",
        ["issuer_id", "ca_key_id", "serial_number"],
        unique=True,
    )
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=False),
        sa.Column("version_id", sa.String(length=128), nullable=False),
        sa.Column("target_id", sa.String(length=128), nullable=False),
        sa.Column("agent_id", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("address", sa.String(length=1024), nullable=False),
        sa.Column("fingerprint_sha256", sa.String(length=64), nullable=False),
        sa.Column("stages", JSONDocument, nullable=False),
        sa.Column("verification", JSONDocument, nullable=False),
        sa.Column("rollback", JSONDocument, nullable=False),
        sa.Column("details", JSONDocument, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('deployed', 'unchanged', 'failed_precheck', 'failed_validate', 'rolled_back', 'rollback_failed')",
            name=op.f("ck_deployments_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["managed_certificates.id"],
            name=op.f("fk_deployments_certificate_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("job_id", "attempt", name=op.f("uq_deployments_job_id_attempt")),
    )
    op.create_index(
        "ix_deployments_certificate_id_finished_at",
        "deployments",
        ["certificate_id", "finished_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_deployments_target_id_finished_at",
        "deployments",
        ["target_id", "finished_at", "id"],
        unique=False,
    )
    op.create_table(
        "issuer_orders",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("issuer_id", sa.String(length=128), nullable=False),
        sa.Column("certificate_id", sa.String(length=128), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("agent_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("idempotency_key", sa.String(length=64), nullable=False),
        sa.Column("csr_sha256", sa.String(length=64), nullable=False),
        sa.Column("request", JSONDocument, nullable=False),
        sa.Column("decision", JSONDocument, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("vendor_ref", JSONDocument, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("rejected_pem", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("error_class", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", UTCDateTime(), nullable=True),
        sa.Column("result_version_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('submitting', 'pending', 'issued', 'failed', 'in_doubt', 'cancelled', 'expired')",
            name=op.f("ck_issuer_orders_state"),
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["managed_certificates.id"],
            name=op.f("fk_issuer_orders_certificate_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuer_orders")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_issuer_orders_idempotency_key")),
    )
    op.create_index(
        "ix_issuer_orders_certificate_id",
        "issuer_orders",
        ["certificate_id", "csr_sha256"],
        unique=False,
    )
    op.create_index(
        "ix_issuer_orders_created_at_id", "issuer_orders", ["created_at", "id"], unique=False
    )
    op.create_index(
        "uq_issuer_orders_open",
        "issuer_orders",
        ["certificate_id", "csr_sha256"],
        unique=True,
        postgresql_where=sa.text("state IN ('submitting', 'pending', 'in_doubt')"),
        sqlite_where=sa.text("state IN ('submitting', 'pending', 'in_doubt')"),
    )

    create_triggers(op.get_bind())


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)


_TABLES = (
    "issuer_orders",
    "deployments",
    "certificate_versions",
    "certificate_targets",
    "targets",
    "sessions",
    "role_permissions",
    "notifier_state",
    "notification_deliveries",
    "managed_certificates",
    "issuer_state",
    "grants",
    "stamps",
    "session_signing_keys",
    "server_replicas",
    "scheduler_leases",
    "roles",
    "renewal_policies",
    "ocsp_response_cache",
    "ocsp_responder_certs",
    "ocsp_key_places",
    "notifiers",
    "notifications",
    "notification_routes",
    "loop_states",
    "loop_runs",
    "jobs",
    "issuers",
    "instance",
    "idempotency_keys",
    "crl_removals",
    "crl_numbers",
    "crl_generation_events",
    "crl_cache",
    "counters",
    "blocked_keys",
    "blocked_key_list_parts",
    "blocked_key_lists",
    "certificate_revocations",
    "certificate_profiles",
    "intermediate_cas",
    "ca_keys",
    "ca_issued_certificates",
    "bootstrap_state",
    "audit_verifications",
    "audit_tiles",
    "audit_leaves",
    "audit_keys",
    "audit_events",
    "audit_checkpoints",
    "api_keys",
    "agents",
    "agent_enrollment_tokens",
)
