"""Bodies and answers of the certificates room."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from certctl_core.kernel.operations import Input, ListQuery, View, patch_of
from certctl_core.lifecycle.certificates.types import KeyScope, Source, Status

Name = Annotated[str, StringConstraints(min_length=1, max_length=253, strip_whitespace=True)]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TagValue = Annotated[str, StringConstraints(max_length=256)]


class CertificateBody(Input):
    """The mutable part of a managed certificate."""

    name: str | None = Field(None, min_length=1, max_length=255, description="Unique label.")
    common_name: Name = Field(description="Common name: host name, IP address or mail address.")
    sans: list[Name] = Field(
        default_factory=list,
        max_length=100,
        description="Further names; DNS, IP, mail and URI are told apart by their form.",
    )
    issuer_id: str | None = Field(None, description="Issuer; the built-in CA when absent.")
    certificate_profile_id: str | None = Field(None, description="Profile; default when absent.")
    renewal_policy_id: str | None = Field(None, description="Renewal policy; default when absent.")
    environment: str = Field("", max_length=50, description="Free text, e.g. production.")
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=50, description="Tags.")
    key_scope: KeyScope = Field(KeyScope.PER_AGENT, description="One key per agent, or one holder.")
    managed_renewal: bool = Field(
        default=True, description="Off when the client holds the key and renews by itself."
    )


class CreateCertificate(CertificateBody):
    """A new managed certificate; with ``csr_pem`` it is issued at once.

    With a CSR, ``common_name`` and ``sans`` may be left out: they are then the CSR's names.
    """

    common_name: Name | None = Field(  # type: ignore[assignment] # a CSR may bring it
        None, description="Common name; the CSR's when absent."
    )
    id: str | None = Field(None, max_length=128, description="Chosen id; made up when absent.")
    csr_pem: str | None = Field(
        None, max_length=32768, description="PKCS#10 request in PEM; issues synchronously."
    )


PatchCertificate = patch_of(CertificateBody, "PatchCertificate")


class CertificateView(View):
    """A managed certificate as the API shows it."""

    id: str
    name: str
    common_name: str
    sans: list[str]
    status: Status
    issuer_id: str
    certificate_profile_id: str | None
    renewal_policy_id: str | None
    environment: str
    tags: dict[str, str]
    source: Source
    key_scope: KeyScope
    managed_renewal: bool
    expires_at: datetime | None
    last_renewal_at: datetime | None
    last_deployment_at: datetime | None
    next_renewal_at: datetime | None
    revoked_at: datetime | None
    revocation_reason: str | None
    last_error: str | None
    current_version_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class VersionView(View):
    """One issued certificate."""

    id: str
    certificate_id: str
    serial_number: str = Field(description="Lower-case hex, whole bytes.")
    not_before: datetime
    not_after: datetime
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
    revoked_at: datetime | None
    created_at: datetime
    pem_chain: str = Field(description="The certificate, then its chain, PEM.")


class IssuedView(View):
    """A certificate that was issued by this very request."""

    certificate: CertificateView
    version: VersionView
    certificate_pem: str
    chain_pem: str


class CertificateCreated(CertificateView):
    """Answer of a creation: the certificate, and what was issued when a CSR came along."""

    issued: IssuedView | None = None


class PEMExport(View):
    """A certificate with its chain, ready to write to files."""

    cert_pem: str
    chain_pem: str
    full_pem: str


class CertificateQuery(ListQuery):
    """Filters of the certificate list (spec 01 §3.1)."""

    status: Status | None = None
    environment: str | None = Field(None, max_length=50)
    issuer_id: str | None = Field(None, max_length=128)
    ca_key_id: str | None = Field(
        None, max_length=40, description="A version in use was signed by this CA key."
    )
    spki_sha256: str | None = Field(
        None,
        max_length=64,
        description="A version that has neither expired nor been revoked has this public key.",
    )
    profile_id: str | None = Field(None, max_length=128)
    source: Source | None = None
    expires_before: AwareDatetime | None = None
    expires_after: AwareDatetime | None = None
    created_after: AwareDatetime | None = None
    updated_after: AwareDatetime | None = None
    tag: str | None = Field(
        None, max_length=330, pattern=r"^.+[:=]", description="`key:value` or `key=value`"
    )
    include_archived: bool = False


class ExportQuery(Input):
    """How a certificate is exported."""

    download: bool = Field(default=False, description="As a file instead of JSON.")
    version_id: str | None = Field(None, max_length=128, description="An older version.")


class VersionQuery(ListQuery):
    """Paging of the versions of one certificate."""


class CertificateDetails(View):
    """What stands in a certificate, for people."""

    version: VersionView
    details: dict[str, Any]
    chain: list[dict[str, Any]]
