"""Tables of the revocation room; names and columns are the disaster-recovery runbook's (02 §3)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certctl_core.kernel.db import UTCDateTime, metadata

certificate_revocations = sa.Table(
    "certificate_revocations",
    metadata,
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        sa.Identity(),
        primary_key=True,
    ),
    sa.Column("id", sa.String(128), nullable=False, unique=True),
    sa.Column("certificate_id", sa.String(128), nullable=True, index=True),
    sa.Column("version_id", sa.String(128), nullable=True),
    sa.Column("serial_number", sa.String(64), nullable=False),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("reason_code", sa.SmallInteger, nullable=False),
    sa.Column("invalidity_date", UTCDateTime, nullable=True),
    sa.Column("revoked_by", sa.String(128), nullable=False),
    sa.Column("revoked_at", UTCDateTime, nullable=False),
    sa.Column("issuer_id", sa.String(128), nullable=False),
    sa.Column("ca_key_id", sa.String(40), nullable=False),
    sa.Column("issuer_notified", sa.Boolean, nullable=False),
    sa.Column("not_after", UTCDateTime, nullable=False),
    sa.Column("on_crl", sa.Boolean, nullable=False),
    sa.Column("entry_der", sa.LargeBinary, nullable=True),
    sa.Column("listed_in", sa.BigInteger, nullable=True),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.UniqueConstraint("issuer_id", "ca_key_id", "serial_number", name="serial"),
    sa.Index("ix_certificate_revocations_ca", "issuer_id", "ca_key_id", "seq"),
    sa.Index(
        "ix_certificate_revocations_new",
        "issuer_id",
        "ca_key_id",
        "seq",
        postgresql_where=sa.text("listed_in IS NULL AND on_crl"),
        sqlite_where=sa.text("listed_in IS NULL AND on_crl"),
    ),
    sa.Index("ix_certificate_revocations_listed", "issuer_id", "ca_key_id", "listed_in"),
    sa.Index(
        "ix_certificate_revocations_untold",
        "revoked_at",
        postgresql_where=sa.text("NOT issuer_notified"),
        sqlite_where=sa.text("NOT issuer_notified"),
    ),
    sqlite_autoincrement=True,
)
"""``ca_key_id`` is empty where the issuer's chain does not tell. ``entry_der`` is the encoded CRL
entry, made once (PERFORMANCE: regenerating a CRL is join, hash, sign); ``listed_in`` is the number
of the complete CRL that had the row first, NULL as long as no CRL has it."""

crl_removals = sa.Table(
    "crl_removals",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        sa.Identity(),
        primary_key=True,
    ),
    sa.Column("issuer_id", sa.String(128), nullable=False),
    sa.Column("ca_key_id", sa.String(40), nullable=False),
    sa.Column("serial_number", sa.String(64), nullable=False),
    sa.Column("revoked_at", UTCDateTime, nullable=False),
    sa.Column("listed_in", sa.BigInteger, nullable=False),
    sa.Column("applied_in", sa.BigInteger, nullable=True),
    sa.Index("ix_crl_removals_ca", "issuer_id", "ca_key_id", "applied_in"),
)
"""Revocations that were on a CRL and are gone or changed since, written by triggers;
``applied_in`` is the number of the first complete CRL without them."""

crl_cache = sa.Table(
    "crl_cache",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), primary_key=True),
    sa.Column("part", sa.String(16), primary_key=True, server_default=""),
    sa.Column("crl_der", sa.LargeBinary, nullable=False),
    sa.Column("crl_number", sa.BigInteger, nullable=False),
    sa.Column("this_update", UTCDateTime, nullable=False),
    sa.Column("next_update", UTCDateTime, nullable=False, index=True),
    sa.Column("generated_at", UTCDateTime, nullable=False),
    sa.Column("generation_duration_ms", sa.Integer, nullable=False),
    sa.Column("revoked_count", sa.Integer, nullable=False),
    sa.Column("revocation_watermark", sa.String(64), nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
)
"""``part`` is empty for the complete CRL; else a partition (``16-3``) or ``delta``."""

crl_numbers = sa.Table(
    "crl_numbers",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), primary_key=True),
    sa.Column("part", sa.String(16), primary_key=True, server_default=""),
    sa.Column("last_number", sa.BigInteger, nullable=False),
    sa.Column("last_this_update", UTCDateTime, nullable=True),
    sa.Column("watermark", sa.String(64), nullable=True),
    sa.Column("earliest_end", UTCDateTime, nullable=True),
    sa.Column("urls", sa.Text, nullable=True),
)
"""Apart from ``crl_cache``, so that truncating the cache cannot reset the numbering (02 CRL-2).

A row of ``crl_cache`` holds only with the number and the watermark that stand here.
``earliest_end`` is when the first of the listed certificates can leave the list (02 CRL-3);
``urls`` are all addresses under which a partition was ever published, a line each."""

crl_generation_events = sa.Table(
    "crl_generation_events",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        sa.Identity(),
        primary_key=True,
    ),
    sa.Column("issuer_id", sa.String(128), nullable=False),
    sa.Column("ca_key_id", sa.String(40), nullable=False),
    sa.Column("crl_number", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("revoked_count", sa.Integer, nullable=False),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("succeeded", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("trigger", sa.String(16), nullable=False),
    sa.Column("part", sa.String(16), nullable=False, server_default=""),
    sa.Index("ix_crl_generation_events_issuer_started", "issuer_id", "started_at"),
)

ocsp_responder_certs = sa.Table(
    "ocsp_responder_certs",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), primary_key=True),
    sa.Column("cert_subject", sa.Text, nullable=False),
    sa.Column("serial_number", sa.String(64), nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=False),
    sa.Column("not_after", UTCDateTime, nullable=False),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Column("key_path", sa.Text, nullable=False),
    sa.Column("cert_pem", sa.Text, nullable=False),
    sa.Column("key_alg", sa.String(32), nullable=False),
    sa.Column("key_enc", sa.Text, nullable=True),
    sa.Column("rotated_from", sa.String(64), nullable=True),
    sa.Column("updated_at", UTCDateTime, nullable=False),
)

ocsp_key_places = sa.Table(
    "ocsp_key_places",
    metadata,
    sa.Column("replica_id", sa.String(128), primary_key=True),
    sa.Column("place", sa.String(64), nullable=False),
    sa.Column("registered_at", UTCDateTime, nullable=False),
)
"""Which directory of responder keys each server process uses, by the mark that lies in it."""

ocsp_response_cache = sa.Table(
    "ocsp_response_cache",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("serial_hex", sa.String(64), primary_key=True),
    sa.Column("hash_alg", sa.String(16), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), nullable=False),
    sa.Column("response_der", sa.LargeBinary, nullable=False),
    sa.Column("cert_status", sa.String(16), nullable=False),
    sa.Column("revocation_reason", sa.Integer, nullable=True),
    sa.Column("revoked_at", UTCDateTime, nullable=True),
    sa.Column("responder_serial", sa.String(64), nullable=False),
    sa.Column("this_update", UTCDateTime, nullable=False),
    sa.Column("next_update", UTCDateTime, nullable=False, index=True),
    sa.Column("generated_at", UTCDateTime, nullable=False),
    sa.CheckConstraint("cert_status IN ('good', 'revoked')", name="cert_status"),
)
"""Signed answers without a nonce that every process may serve while they are true (02 OCC-1);
may be emptied at any time, also by ``TRUNCATE`` (02 DATA-3)."""

WATCHED = (
    "certificate_revocations",
    "crl_cache",
    "ocsp_responder_certs",
    "ocsp_response_cache",
    "ca_keys",
)
"""Tables that an operator may touch by hand while the server runs (02 DATA-2)."""


_SQLITE = (
    """
CREATE TRIGGER IF NOT EXISTS certificate_revocations_changed
AFTER UPDATE OF issuer_id, ca_key_id, serial_number, reason, revoked_at, invalidity_date,
  not_after, on_crl ON certificate_revocations BEGIN
  INSERT INTO crl_removals (issuer_id, ca_key_id, serial_number, revoked_at, listed_in)
    SELECT OLD.issuer_id, OLD.ca_key_id, OLD.serial_number, OLD.revoked_at, OLD.listed_in
    WHERE OLD.listed_in IS NOT NULL AND OLD.on_crl;
  UPDATE certificate_revocations SET entry_der = NULL, listed_in = NULL WHERE seq = NEW.seq;
END
""",
    """
CREATE TRIGGER IF NOT EXISTS certificate_revocations_gone
AFTER DELETE ON certificate_revocations BEGIN
  INSERT INTO crl_removals (issuer_id, ca_key_id, serial_number, revoked_at, listed_in)
    SELECT OLD.issuer_id, OLD.ca_key_id, OLD.serial_number, OLD.revoked_at, OLD.listed_in
    WHERE OLD.listed_in IS NOT NULL AND OLD.on_crl;
END
""",
)

_POSTGRES = (
    """
CREATE OR REPLACE FUNCTION certctl_revocation_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO crl_removals (issuer_id, ca_key_id, serial_number, revoked_at, listed_in)
    SELECT OLD.issuer_id, OLD.ca_key_id, OLD.serial_number, OLD.revoked_at, OLD.listed_in
    WHERE OLD.listed_in IS NOT NULL AND OLD.on_crl;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  NEW.entry_der := NULL;
  NEW.listed_in := NULL;
  RETURN NEW;
END $$
""",
    """
CREATE OR REPLACE TRIGGER certificate_revocations_changed
BEFORE UPDATE OF issuer_id, ca_key_id, serial_number, reason, revoked_at, invalidity_date,
  not_after, on_crl ON certificate_revocations
FOR EACH ROW EXECUTE FUNCTION certctl_revocation_changed()
""",
    """
CREATE OR REPLACE TRIGGER certificate_revocations_gone
BEFORE DELETE ON certificate_revocations
FOR EACH ROW EXECUTE FUNCTION certctl_revocation_changed()
""",
    """
CREATE OR REPLACE FUNCTION certctl_forget_crls() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM crl_cache;
  RETURN NULL;
END $$
""",
    """
CREATE OR REPLACE TRIGGER certificate_revocations_truncated
AFTER TRUNCATE ON certificate_revocations
FOR EACH STATEMENT EXECUTE FUNCTION certctl_forget_crls()
""",
    # Entries are as good as random: compressing them costs time and gains nothing, and parts of an
    # uncompressed value are read and written without the rest.
    "ALTER TABLE crl_cache ALTER COLUMN crl_der SET STORAGE EXTERNAL",
)


def create_triggers(connection: Connection) -> None:
    """Let the database itself answer to changes by hand (02 DATA-2).

    On both engines a changed revocation loses its encoded entry and is new for the next CRL, and
    what was on a CRL and is not any more is noted. On PostgreSQL any statement on a watched table, ``TRUNCATE`` included, notifies ``pki``,
    unless its transaction said that it is quiet (``Uow.be_quiet``: the cache fills itself);
    SQLite needs no notice: ``PRAGMA data_version`` tells of every foreign commit.
    """
    if connection.dialect.name != "postgresql":
        for statement in _SQLITE:
            connection.execute(sa.text(statement))
        return
    for statement in _POSTGRES:
        connection.execute(sa.text(statement))
    connection.execute(
        sa.text(
            "CREATE OR REPLACE FUNCTION certctl_notify_pki() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_notify('certctl', 'pki'); RETURN NULL; END $$"
        )
    )
    for table in WATCHED:
        connection.execute(
            sa.text(
                f"CREATE OR REPLACE TRIGGER {table}_notify AFTER INSERT OR UPDATE OR DELETE OR "
                f"TRUNCATE ON {table} FOR EACH STATEMENT "
                f"WHEN (current_setting('certctl.quiet', true) IS DISTINCT FROM 'on') "
                f"EXECUTE FUNCTION certctl_notify_pki()"
            )
        )
