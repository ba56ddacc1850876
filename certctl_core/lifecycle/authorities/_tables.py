"""``ca_keys`` and the ledger ``ca_issued_certificates`` (02 §3). Private to this room.

Neither refers to ``issuers``: CRL, OCSP and CA certificates of a deleted issuer are served while
certificates of it live (02 PKI-3).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import sqlalchemy as sa

from certctl_core.kernel.db import UTCDateTime, metadata
from certctl_core.lifecycle.authorities.types import CAKeyState, CAOrigin, LedgerKind


def _one_of(column: str, values: Iterable[StrEnum]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


ca_keys = sa.Table(
    "ca_keys",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), primary_key=True),
    sa.Column("cert_pem", sa.Text, nullable=False),
    # What follows the CA certificate upwards, the root last where it is known; may be empty.
    sa.Column("chain_pem", sa.Text, nullable=False),
    # The CA certificate of this key that the former CA signed, as PEM; empty without one.
    sa.Column("cross_pem", sa.Text, nullable=False),
    sa.Column("signer", sa.String(32), nullable=False),
    sa.Column("key_ref", sa.Text, nullable=True),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=False),
    sa.Column("not_after", UTCDateTime, nullable=False),
    sa.Column("first_seen_at", UTCDateTime, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    # Its id in the tree of CAs, and the OCSP address that its certificates name instead of ours.
    sa.Column("member_id", sa.String(128), nullable=True),
    sa.Column("ocsp_url", sa.Text, nullable=True),
    # The lowest number of days before its end that somebody was warned of.
    sa.Column("warned_days", sa.Integer, nullable=True),
    _one_of("state", CAKeyState),
    _one_of("origin", CAOrigin),
    sa.CheckConstraint("not_after > not_before", name="validity"),
)

sa.Index(
    "uq_ca_keys_current",
    ca_keys.c.issuer_id,
    unique=True,
    sqlite_where=ca_keys.c.state == CAKeyState.CURRENT.value,
    postgresql_where=ca_keys.c.state == CAKeyState.CURRENT.value,
)
sa.Index("ix_ca_keys_ca_key_id", ca_keys.c.ca_key_id)

ca_issued_certificates = sa.Table(
    "ca_issued_certificates",
    metadata,
    sa.Column("issuer_id", sa.String(128), primary_key=True),
    sa.Column("ca_key_id", sa.String(40), primary_key=True),
    sa.Column("serial_number", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("certificate_id", sa.String(128), nullable=True),
    sa.Column("profile_id", sa.String(128), nullable=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=False),
    sa.Column("not_after", UTCDateTime, nullable=False),
    sa.Column("fingerprint_sha256", sa.String(64), nullable=False),
    sa.Column("short_lived", sa.Boolean, nullable=False),
    sa.Column("issued_at", UTCDateTime, nullable=False),
    _one_of("kind", LedgerKind),
)

sa.Index(
    "ix_ca_issued_certificates_certificate_id",
    ca_issued_certificates.c.certificate_id,
    sqlite_where=ca_issued_certificates.c.certificate_id.is_not(None),
    postgresql_where=ca_issued_certificates.c.certificate_id.is_not(None),
)
sa.Index(
    "ix_ca_issued_certificates_issuer_id_not_after",
    ca_issued_certificates.c.issuer_id,
    ca_issued_certificates.c.not_after,
)
