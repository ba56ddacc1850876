"""Bodies and answers of the profiles room (spec 02 §7)."""

import re
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from certctl_core.kernel.operations import Input, ListQuery, View, patch_of
from certctl_core.lifecycle.profiles.types import is_short_lived
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import SUBJECT_OIDS, eku_oid, known_attribute

KeyFamily = Literal["RSA", "ECDSA", "Ed25519", "ML-DSA"]
_MIN_RSA, _MIN_ECDSA = 2048, 256
_SPIFFE_PATTERN = re.compile(r"spiffe://[a-z0-9._*-]+(/[A-Za-z0-9._*-]+)*")
"""The characters of a SPIFFE ID (SPIFFE-ID §2), and ``*``."""

_OF_THE_NAMES = {
    "CN": "every certificate has its common name",
    "emailAddress": "mail addresses are subject alternative names (RFC 5280 §4.1.2.6)",
}
ATTRIBUTES = tuple(name for name in map(known_attribute, SUBJECT_OIDS) if name not in _OF_THE_NAMES)
"""Subject attributes that a profile may allow."""


class KeyRule(Input):
    """One allowed key algorithm with its smallest size in bits (Ed25519: 0; ML-DSA: 44/65/87)."""

    algorithm: KeyFamily
    min_size: int = Field(0, ge=0, le=16384)

    @model_validator(mode="after")
    def _floor(self) -> Self:
        floor = {"RSA": _MIN_RSA, "ECDSA": _MIN_ECDSA}.get(self.algorithm, 0)
        if self.min_size < floor:
            message = f"min_size of {self.algorithm} must be at least {floor}"
            raise ValueError(message)
        return self


def _default_keys() -> list[KeyRule]:
    return [
        KeyRule(algorithm="ECDSA", min_size=_MIN_ECDSA),
        KeyRule(algorithm="RSA", min_size=_MIN_RSA),
        KeyRule(algorithm="Ed25519", min_size=0),
    ]


class ProfileBody(Input):
    """The mutable part of a profile: what may be issued under it."""

    name: str = Field(min_length=1, max_length=255, description="Unique name.")
    description: str = Field("", max_length=2000, description="What the profile is for.")
    allowed_key_algorithms: list[KeyRule] = Field(
        default_factory=_default_keys, max_length=16, description="Keys that a CSR may carry."
    )
    max_ttl_seconds: int = Field(
        0, ge=0, le=10 * 366 * 86400, description="Longest validity in seconds; 0 = no cap."
    )
    default_validity_seconds: int = Field(
        0, ge=0, le=10 * 366 * 86400, description="Validity in seconds; 0 = the issuer's default."
    )
    allowed_ekus: list[str] = Field(
        default_factory=lambda: ["serverAuth"],
        max_length=16,
        description="Extended key usages, by name or dotted OID.",
    )
    required_san_patterns: list[str] = Field(
        default_factory=list,
        max_length=32,
        description="Regular expressions; every name must match one of them whole.",
    )
    spiffe_uri_pattern: str = Field(
        "",
        max_length=512,
        description="If set, exactly one spiffe:// URI that matches it: `*` is one segment of the "
        "path, `/*` at the end one or more.",
    )
    allowed_subject_attributes: list[str] = Field(
        default_factory=list,
        max_length=24,
        description="Attributes of the CSR's subject that the certificate carries besides the "
        "common name: `O`, `OU`, `C`, `ST`, `L`, `serialNumber` …; all others are left out.",
    )
    allow_short_lived: bool = Field(
        default=False, description="Below one hour: no CRL or OCSP pointers, noRevAvail instead."
    )
    must_staple: bool = Field(default=False, description="Add the TLS feature must-staple.")
    requires_approval: bool = Field(
        default=False, description="Nothing is issued without the approval of a second person."
    )
    reuse_key: bool = Field(default=False, description="Renewals keep the public key.")
    include_aia: bool = Field(default=True, description="Add OCSP and CA-issuer pointers.")
    include_cdp: bool = Field(default=True, description="Add the CRL pointer.")
    enabled: bool = Field(default=True, description="Off: nothing is issued under it.")

    @field_validator("allowed_key_algorithms")
    @classmethod
    def _some_keys(cls, value: list[KeyRule]) -> list[KeyRule]:
        return value or _default_keys()

    @field_validator("allowed_ekus")
    @classmethod
    def _known_ekus(cls, value: list[str]) -> list[str]:
        for name in value:
            try:
                eku_oid(name)
            except PKIError as error:
                raise ValueError(str(error)) from error
            if name in {"ocspSigning", "OCSPSigning", "1.3.6.1.5.5.7.3.9"}:
                message = "ocspSigning is never allowed in a leaf profile (RFC 6960 §4.2.2.2)"
                raise ValueError(message)
        return value or ["serverAuth"]

    @field_validator("required_san_patterns")
    @classmethod
    def _compiles(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                message = f"{pattern!r} is not a regular expression: {error}"
                raise ValueError(message) from error
        return value

    @field_validator("spiffe_uri_pattern")
    @classmethod
    def _can_match(cls, value: str) -> str:
        if value and not _SPIFFE_PATTERN.fullmatch(value):
            message = f"{value!r} matches no SPIFFE ID; write spiffe://example.com/ns/*/sa/*"
            raise ValueError(message)
        return value

    @field_validator("allowed_subject_attributes")
    @classmethod
    def _known_attributes(cls, value: list[str]) -> list[str]:
        names = []
        for text in value:
            try:
                name = known_attribute(text)
            except PKIError as error:
                known = ", ".join(ATTRIBUTES)
                message = f"{text[:64]!r} is not known; known are {known}"
                raise ValueError(message) from error
            if name not in ATTRIBUTES:
                message = f"{name} is not chosen here: {_OF_THE_NAMES[name]}"
                raise ValueError(message)
            names.append(name)
        return list(dict.fromkeys(names))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.allow_short_lived and not is_short_lived(self):
            message = "allow_short_lived needs max_ttl_seconds between 1 and 3599"
            raise ValueError(message)
        if self.max_ttl_seconds and self.default_validity_seconds > self.max_ttl_seconds:
            message = "default_validity_seconds must not exceed max_ttl_seconds"
            raise ValueError(message)
        return self


class CreateProfile(ProfileBody):
    """A new profile."""

    id: str | None = Field(None, max_length=128, description="Chosen id; made up when absent.")


PatchProfile = patch_of(ProfileBody, "PatchProfile")


class ProfileView(View):
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
    created_at: datetime
    updated_at: datetime

    @property
    def is_short_lived(self) -> bool:
        """Whether certificates under it carry noRevAvail and no pointers (02 CERT-17)."""
        return is_short_lived(self)


class ProfileQuery(ListQuery):
    """Filters of the profile list."""

    enabled: bool | None = Field(None, description="Only enabled or only disabled ones.")
