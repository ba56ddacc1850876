"""Bodies and answers of the issuance room."""

from datetime import datetime
from typing import Any

from pydantic import Field

from certctl_core.kernel.operations import Input, ListQuery, View
from certctl_core.lifecycle.issuance.types import OrderState
from certctl_core.lifecycle.profiles import ProfileBody
from certctl_core.pki.keys import KeyAlgorithm


class OrderView(View):
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
    state: OrderState
    vendor_ref: dict[str, Any] | None
    message: str | None
    last_error: str | None
    error_class: str | None
    result_version_id: str | None
    created_at: datetime
    updated_at: datetime


class OrderQuery(ListQuery):
    """Filters of the order list."""

    issuer_id: str | None = Field(None, max_length=128)
    certificate_id: str | None = Field(None, max_length=128)
    state: OrderState | None = None


class PreviewProfile(Input):
    """A profile, stored or not, and a request to try on it."""

    profile: ProfileBody
    issuer_id: str = Field("iss-local", max_length=128, description="Who would issue.")
    names: list[str] = Field(
        default_factory=lambda: ["www.example.com"],
        min_length=1,
        max_length=20,
        description="Names of the sample; the first becomes its common name.",
    )
    subject: str = Field(
        "",
        max_length=2000,
        description="Subject of the sample's CSR, RFC 4514, such as `OU=Web,O=Example,C=DE`; its "
        "common name is the first of the names.",
    )
    key_algorithm: KeyAlgorithm | None = Field(
        None, description="Key of the sample; the first one allowed when absent."
    )


class PreviewSentence(View):
    """One thing to know: `info`, `warning`, or `refusal` where nothing would be issued."""

    level: str
    text: str


class PreviewFinding(View):
    """What the check before issuance would say about the sample."""

    code: str
    severity: str
    text: str


class SampleExtension(View):
    """One extension of the sample."""

    name: str
    critical: bool
    text: str


class SampleCertificate(View):
    """What would be issued; the signature is by a key that was thrown away."""

    subject: str
    issuer: str
    names: list[str]
    key: str
    signature: str
    not_before: datetime
    not_after: datetime
    extensions: list[SampleExtension]
    size: int = Field(description="Characters of the PEM form.")


class ProfilePreview(View):
    """What a profile means."""

    would_issue: bool
    refusals: list[str]
    sentences: list[PreviewSentence]
    certificate: SampleCertificate | None = Field(
        description="Of our own CA only: what another issuer adds is not known here."
    )
    findings: list[PreviewFinding]
