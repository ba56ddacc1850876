"""What the API answers about the CAs of a tree."""

from __future__ import annotations

from typing import TypedDict


class NameConstraints(TypedDict):
    """What a CA may certify, and what not: ``DNS:example.com`` …."""

    permitted: list[str]
    excluded: list[str]


class Intermediate(TypedDict):
    """One CA of a tree; ``parent_ca_id`` is None for the root."""

    id: str
    owning_issuer_id: str
    parent_ca_id: str | None
    name: str
    subject: str
    state: str
    is_issuing: bool
    can_sign: bool
    revoked_above: bool
    ca_key_id: str
    key_driver_id: str | None
    key_algorithm: str
    serial: str | None
    fingerprint_sha256: str | None
    not_before: str | None
    not_after: str | None
    path_len_constraint: int | None
    name_constraints: list[NameConstraints]
    ocsp_responder_url: str | None
    metadata: dict[str, str]
    cert_pem: str | None
    chain_pem: str
    csr_pem: str | None
    created_by: str
    created_at: str
    updated_at: str


class Intermediates(TypedDict):
    """The CAs of an issuer, oldest first."""

    data: list[Intermediate]


class RetiredIntermediate(TypedDict):
    """What a call to retire did."""

    id: str
    decided_by: str
    confirmed: bool
    state: str


class RevokedIntermediate(TypedDict):
    """What a revocation of a CA did."""

    id: str
    state: str
    reason: str
    on_crl: bool
