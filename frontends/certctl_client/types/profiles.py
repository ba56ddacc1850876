"""Profiles, and what they lead to."""

from __future__ import annotations

from typing import TypedDict


class KeyRule(TypedDict):
    """One allowed key algorithm with its smallest size in bits (Ed25519: 0; ML-DSA: 44/65/87)."""

    algorithm: str
    min_size: int


class Profile(TypedDict):
    """A profile as the API shows it."""

    id: str
    name: str
    description: str
    allowed_key_algorithms: list[KeyRule]
    max_ttl_seconds: int
    default_validity_seconds: int
    allowed_ekus: list[str]
    required_san_patterns: list[str]
    spiffe_uri_pattern: str
    allowed_subject_attributes: list[str]
    allow_short_lived: bool
    must_staple: bool
    requires_approval: bool
    reuse_key: bool
    include_aia: bool
    include_cdp: bool
    enabled: bool
    version: int
    created_at: str
    updated_at: str


class PreviewSentence(TypedDict):
    """One thing to know of a profile: ``info``, ``warning`` or ``refusal``."""

    level: str
    text: str


class PreviewFinding(TypedDict):
    """What the check before issuance says of a sample."""

    code: str
    severity: str
    text: str


class SampleExtension(TypedDict):
    """One extension of a sample."""

    name: str
    critical: bool
    text: str


class SampleCertificate(TypedDict):
    """What would be issued under a profile."""

    subject: str
    issuer: str
    names: list[str]
    key: str
    signature: str
    not_before: str
    not_after: str
    extensions: list[SampleExtension]
    size: int


class ProfilePreview(TypedDict):
    """What a profile means."""

    would_issue: bool
    refusals: list[str]
    sentences: list[PreviewSentence]
    certificate: SampleCertificate | None
    findings: list[PreviewFinding]
