"""What the lifecycle rooms answer: certificates, issuers, profiles, policies, revocation."""

from __future__ import annotations

from typing import Any, TypedDict


class Certificate(TypedDict):
    """A managed certificate as the API shows it."""

    id: str
    name: str
    common_name: str
    sans: list[str]
    status: str
    issuer_id: str
    certificate_profile_id: str | None
    renewal_policy_id: str | None
    environment: str
    tags: dict[str, str]
    source: str
    key_scope: str
    managed_renewal: bool
    expires_at: str | None
    last_renewal_at: str | None
    last_deployment_at: str | None
    next_renewal_at: str | None
    revoked_at: str | None
    revocation_reason: str | None
    last_error: str | None
    current_version_id: str | None
    version: int
    created_at: str
    updated_at: str


class Version(TypedDict):
    """One issued certificate."""

    id: str
    certificate_id: str
    serial_number: str
    not_before: str
    not_after: str
    fingerprint_sha256: str
    spki_sha256: str
    key_algorithm: str
    key_size: int
    issuer_id: str
    ca_key_id: str | None
    is_current: bool
    agent_id: str | None
    job_id: str | None
    order_id: str | None
    revoked_at: str | None
    created_at: str
    pem_chain: str


class Issued(TypedDict):
    """A certificate that was issued by this very request."""

    certificate: Certificate
    version: Version
    certificate_pem: str
    chain_pem: str


class CertificateCreated(Certificate):
    """Answer of a creation: the certificate, and what was issued when a CSR came along."""

    issued: Issued | None


class CertificateDetails(TypedDict):
    """What stands in a certificate, for people."""

    version: Version
    details: dict[str, Any]
    chain: list[dict[str, Any]]


class PEMExport(TypedDict):
    """A certificate with its chain, ready to write to files."""

    cert_pem: str
    chain_pem: str
    full_pem: str


class Renewal(TypedDict):
    """What a renewal request led to: an issued certificate, or jobs that wait for CSRs."""

    status: str
    job_ids: list[str]
    issued: Issued | None


class SameKey(TypedDict):
    """Certificates that are still valid with a key that somebody else may have."""

    spki_sha256: str
    total: int
    certificate_ids: list[str]


class Revocation(TypedDict):
    """What was revoked; ``same_key`` after ``keyCompromise``."""

    status: str
    certificate_id: str
    serials: list[str]
    reason: str
    revoked_at: str
    same_key: list[SameKey]


class Unhold(TypedDict):
    """What was released."""

    status: str
    certificate_id: str
    serials: list[str]


class Regenerated(TypedDict):
    """CRLs that were just generated."""

    issuer_id: str
    crl_numbers: dict[str, int]


class Rotated(TypedDict):
    """Responders that were just replaced."""

    issuer_id: str
    serial_numbers: dict[str, str]


class CRLEvent(TypedDict):
    """One attempt to generate a CRL."""

    started_at: str
    trigger: str
    part: str
    duration_ms: int
    succeeded: bool
    crl_number: int
    revoked_count: int
    error: str | None


class CRLPart(TypedDict):
    """A partition of a CA key's CRL, or its delta."""

    part: str
    crl_number: int
    this_update: str
    next_update: str
    revoked_count: int
    is_stale: bool


class CRLCacheRow(TypedDict):
    """The CRL of one CA key."""

    issuer_id: str
    ca_key_id: str
    cache_present: bool
    crl_number: int | None
    this_update: str | None
    next_update: str | None
    generated_at: str | None
    generation_duration_ms: int | None
    revoked_count: int | None
    is_stale: bool
    parts: list[CRLPart]
    recent_events: list[CRLEvent]


class CRLCache(TypedDict):
    """The CRLs of every CA key."""

    cache_rows: list[CRLCacheRow]
    row_count: int
    generated_at: str


class DeltaCheck(TypedDict):
    """What the delta of a complete list says of a certificate."""

    crl_number: int
    base_number: int
    this_update: str
    next_update: str
    entries: int
    says: str | None
    is_verified: bool
    problem: str | None


class CRLCheck(TypedDict):
    """What the published CRL says of a certificate now, read and verified."""

    certificate_id: str
    serial_number: str
    issuer_id: str
    ca_key_id: str
    url: str | None
    part: str
    crl_number: int
    this_update: str
    next_update: str
    entries: int
    is_listed: bool
    reason: str | None
    revoked_at: str | None
    invalidity_date: str | None
    delta: DeltaCheck | None
    is_verified: bool
    problem: str | None


class Responder(TypedDict):
    """The OCSP responder of one CA key."""

    issuer_id: str
    ca_key_id: str
    cert_subject: str
    serial_number: str
    not_before: str
    not_after: str
    created_at: str
    key_path: str
    key_alg: str
    rotated_from: str | None
    key_state: str
    problem: str | None


class OCSPAnswers(TypedDict):
    """The stored OCSP answers of one issuer."""

    issuer_id: str
    good: int
    revoked: int


class OCSPState(TypedDict):
    """The responders and the stored answers."""

    responders: list[Responder]
    cache: list[OCSPAnswers]
    direct_signing: bool
    generated_at: str


class OCSPCheck(TypedDict):
    """What OCSP says of a certificate now, read and verified."""

    certificate_id: str
    serial_number: str
    issuer_id: str
    ca_key_id: str
    url: str | None
    response_status: str
    status: str | None
    reason: str | None
    revoked_at: str | None
    produced_at: str | None
    this_update: str | None
    next_update: str | None
    responder_key_id: str | None
    is_verified: bool
    problem: str | None


class Purged(TypedDict):
    """How many answers were deleted."""

    purged: int


class Order(TypedDict):
    """An issuer order with its decision record."""

    id: str
    issuer_id: str
    certificate_id: str
    job_id: str | None
    agent_id: str | None
    kind: str
    csr_sha256: str
    request: dict[str, Any]
    decision: list[dict[str, Any]]
    state: str
    vendor_ref: dict[str, Any] | None
    message: str | None
    last_error: str | None
    error_class: str | None
    result_version_id: str | None
    created_at: str
    updated_at: str


class IssuerKind(TypedDict):
    """One kind of issuer that is installed, also one that cannot be used and why."""

    kind: str
    title: str
    summary: str
    available: bool
    error: str | None
    capabilities: list[str]
    aliases: list[str]
    schema: dict[str, Any] | None
    docs: str | None


class CAChain(TypedDict):
    """The CA certificates of an issuer: the issuing one first, the root last if it is known."""

    certificates: list[str]
    fetched_at: str


class CAKey(TypedDict):
    """One CA key of an issuer."""

    ca_key_id: str
    issuer_id: str
    state: str
    origin: str
    signer: str
    key_ref: str | None
    subject: str
    serial: str
    key_algorithm: str
    fingerprint_sha256: str
    not_before: str
    not_after: str
    first_seen_at: str
    member_id: str | None
    can_sign: bool
    warnings: list[str]
    crl_urls: list[str]
    ocsp_urls: list[str]
    ca_issuer_urls: list[str]
    certificate_pem: str
    chain_pem: str
    cross_pem: str


class CAKeys(TypedDict):
    """The CA keys of an issuer."""

    data: list[CAKey]


class RotatedCA(TypedDict):
    """The CA that issues now, and the one before it."""

    issuer_id: str
    former_ca_key_id: str | None
    current: CAKey


class RenewalsPlanned(TypedDict):
    """What a bulk renewal will do."""

    issuer_id: str
    ca_key_id: str
    affected: int
    planned: int


class Compromised(TypedDict):
    """What a stolen CA key means."""

    issuer_id: str
    ca_key_id: str
    unexpired: int
    replaced_by: str | None
    renewals: RenewalsPlanned | None


class RetiredCA(TypedDict):
    """A CA key that signs nothing any more."""

    issuer_id: str
    ca_key_id: str
    state: str


class ImportedCRL(TypedDict):
    """What a CRL brought back."""

    issuer_id: str
    ca_key_id: str
    crl_number: int
    entries: int
    added: int
    certificates_revoked: int


class ImportedCertificates(TypedDict):
    """What certificates brought back."""

    added: int
    known: int
    foreign: list[str]


class Check(TypedDict):
    """One thing that a test looked at."""

    name: str
    ok: bool
    detail: str
    hint: str


class Report(TypedDict):
    """The result of a test."""

    ok: bool
    checks: list[Check]
    duration_ms: int


class Configured(TypedDict):
    """What is configured of a plugin; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str
    config: dict[str, Any]
    capabilities: list[str]
    enabled: bool
    source: str
    state: str
    state_reason: str
    health: str
    test_status: str
    last_tested_at: str | None
    last_test_report: Report | None
    created_by: str
    created_at: str
    updated_at: str
    version: int


class Issuer(Configured):
    """One configured issuer."""


class TrustAnchor(TypedDict):
    """One certificate of a bundle."""

    subject: str
    not_after: str
    fingerprint_sha256: str
    expired: bool


class TrustBundle(TypedDict):
    """A trust bundle as it is in force."""

    name: str
    use: str
    path: str
    loaded_at: str
    anchors: list[TrustAnchor]
    warnings: list[str]
    last_error: str | None


class TrustReloaded(TypedDict):
    """A bundle that was read again."""

    reloaded: bool
    name: str
    reloaded_at: str
    certs_loaded: int
    added: list[str]
    removed: list[str]
    warnings: list[str]


class BulkFailure(TypedDict):
    """One certificate that could not be revoked."""

    certificate_id: str
    code: str
    error: str


class BulkRevocation(TypedDict):
    """What became of a bulk revocation."""

    id: str
    reason: str
    dry_run: bool
    total_matched: int
    to_revoke: int
    total_revoked: int
    total_skipped: int
    total_failed: int
    errors: list[BulkFailure]
    job_id: str | None


class BlockedKey(TypedDict):
    """A key that is not certified."""

    spki_sha256: str
    source: str
    certificate_id: str | None
    note: str
    created_by: str
    created_at: str


class BlockedKeyList(TypedDict):
    """A list of known-weak keys."""

    name: str
    mark: str
    entries: int
    note: str
    created_by: str
    created_at: str
    updated_at: str


class RenewalPolicy(TypedDict):
    """A renewal policy as the API shows it."""

    id: str
    name: str
    renewal_window_days: int
    renew_at_percent: int
    auto_renew: bool
    max_retries: int
    retry_interval_seconds: int
    version: int
    created_at: str
    updated_at: str
