"""Queries of the certificates room; rows never leave the package."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import RowView, counted
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.certificates._tables import (
    certificate_versions as versions,
)
from certctl_core.lifecycle.certificates._tables import (
    managed_certificates as certificates,
)
from certctl_core.lifecycle.certificates.schemas import (
    CertificateQuery,
    CertificateView,
    VersionView,
)
from certctl_core.lifecycle.certificates.types import Status

SORTS: dict[str, sa.ColumnElement[Any]] = {
    "created_at": certificates.c.created_at,
    "createdAt": certificates.c.created_at,
    "updated_at": certificates.c.updated_at,
    "updatedAt": certificates.c.updated_at,
    "common_name": certificates.c.common_name,
    "commonName": certificates.c.common_name,
    "name": certificates.c.name,
    "status": certificates.c.status,
    "environment": certificates.c.environment,
    "issuer_id": certificates.c.issuer_id,
    "expires_at": certificates.c.expires_at,
    "expiresAt": certificates.c.expires_at,
    "notAfter": certificates.c.expires_at,
}
"""Sort fields of the list; ``expires_at`` leaves out certificates that were never issued."""

# A literal: with a parameter in its place the server would plan the list each time anew.
_ARCHIVED = sa.literal_column(f"'{Status.ARCHIVED.value}'", sa.String)

TOTAL = counted("certificates.status.", besides=(Status.ARCHIVED,))
"""How many an unfiltered list has: archived certificates are not in it."""

_UNSET = dict.fromkeys(column.name for column in certificates.c if column.nullable)
LISTED = [column for column in certificates.c if column.name != "search_text"]
VIEWED = [column for column in versions.c if column.name not in {"csr_pem", "vendor_ref"}]


def selection(
    query: CertificateQuery, scopes: list[Resource] | None, valid_at: datetime | None = None
) -> sa.Select[Any]:
    """The filtered list, unsorted; ``valid_at`` is the time for a filter by key."""
    c = certificates.c
    statement = sa.select(*LISTED)
    equal = {
        c.status: query.status,
        c.environment: query.environment,
        c.issuer_id: query.issuer_id,
        c.certificate_profile_id: query.profile_id,
        c.source: query.source,
    }
    for column, value in equal.items():
        if value is not None:
            statement = statement.where(column == value)
    if query.status is None and not query.include_archived:
        statement = statement.where(c.status != _ARCHIVED)
    bounds = [
        (c.expires_at, query.expires_before, True),
        (c.expires_at, query.expires_after, False),
        (c.created_at, query.created_after, False),
        (c.updated_at, query.updated_after, False),
    ]
    for column, moment, upper in bounds:
        if moment is not None:
            statement = statement.where(column < moment if upper else column >= moment)
    if query.tag is not None:
        pairs = [query.tag.partition(mark)[::2] for mark in ":=" if mark in query.tag]
        wanted = [c.tags[key].as_string() == value for key, value in pairs]
        statement = statement.where(sa.or_(*wanted))
    if query.q:
        statement = statement.where(c.search_text.contains(query.q.lower(), autoescape=True))
    sort = (query.sort or "").removeprefix("-")
    if sort in {"expires_at", "expiresAt", "notAfter"}:
        statement = statement.where(c.expires_at.is_not(None))
    statement = statement.where(*_by_key(query, valid_at))
    return statement if scopes is None else statement.where(_is_within(scopes))


def _by_key(query: CertificateQuery, valid_at: datetime | None) -> Iterator[sa.ColumnElement[bool]]:
    if query.ca_key_id is not None:
        yield _is_vouched_for(query.ca_key_id.lower())
    if query.spki_sha256 is not None and valid_at is not None:
        yield has_valid_version_of(query.spki_sha256.lower(), valid_at)


def _is_within(scopes: list[Resource]) -> sa.ColumnElement[bool]:
    c = certificates.c
    profiles = [scope.profile_id for scope in scopes if scope.profile_id]
    issuers = [scope.issuer_id for scope in scopes if scope.issuer_id]
    return sa.or_(c.certificate_profile_id.in_(profiles), c.issuer_id.in_(issuers))


def _is_vouched_for(ca_key_id: str) -> sa.ColumnElement[bool]:
    """A version in use, not revoked, was signed by the CA key."""
    v = versions.c
    return sa.exists().where(
        v.certificate_id == certificates.c.id,
        v.is_current.is_(True),
        v.ca_key_id == ca_key_id,
        v.revoked_at.is_(None),
    )


def has_valid_version_of(spki_sha256: str, now: datetime) -> sa.ColumnElement[bool]:
    """A version of this key has neither expired nor been revoked, in use or not."""
    v = versions.c
    return sa.exists().where(
        v.certificate_id == certificates.c.id,
        v.spki_sha256 == spki_sha256,
        v.not_after > now,
        v.revoked_at.is_(None),
    )


def one(certificate_id: str) -> sa.Select[Any]:
    """One certificate by id."""
    return sa.select(*LISTED).where(certificates.c.id == certificate_id)


def version_list(certificate_id: str) -> sa.Select[Any]:
    """The versions of one certificate."""
    return sa.select(*VIEWED).where(versions.c.certificate_id == certificate_id)


def search_text(name: str, common_name: str, sans: list[str], *extra: str) -> str:
    """What ``q`` looks in: names, serial and fingerprint, lower case."""
    return " ".join(dict.fromkeys(part.lower() for part in (name, common_name, *sans, *extra)))


certificate_view = RowView(CertificateView)
"""Row → view."""


def new_certificate_view(row: dict[str, Any]) -> CertificateView:
    """A row that is about to be inserted → view."""
    return CertificateView.model_validate(_UNSET | row)


def pem(der: bytes) -> str:
    """DER → PEM, 64 columns (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def version_view(row: Row[Any]) -> VersionView:
    """Row → view, the PEM chain built from the DER."""
    members = row._asdict()
    chain = pem(members.pop("cert_der")) + members.pop("chain_pem")
    return VersionView(pem_chain=chain, **members)


def new_version_view(row: dict[str, Any]) -> VersionView:
    """A row that is about to be inserted → view."""
    members: dict[str, Any] = {n: row.get(n) for n in VersionView.model_fields if n != "pem_chain"}
    return VersionView(pem_chain=pem(row["cert_der"]) + row["chain_pem"], **members)
