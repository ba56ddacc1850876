"""Bodies and answers of the revocation room."""

from datetime import datetime

from pydantic import AwareDatetime, Field

from certctl_core.kernel.operations import Input, View
from certctl_core.lifecycle.revocation.types import Scope


class RevokeCertificate(Input):
    """How to revoke (02 §10)."""

    reason: str = Field("unspecified", max_length=64, description="RFC 5280 CRLReason.")
    scope: Scope | None = Field(None, description="`current`, or `all_unexpired` versions.")
    serial: str | None = Field(None, max_length=128, description="Only this version.")
    invalidity_date: AwareDatetime | None = Field(
        None, description="Since when the key is thought to be unusable."
    )


class SameKeyView(View):
    """Certificates that are still valid with a key that somebody else may have."""

    spki_sha256: str
    total: int = Field(description="All of them, also those that you may not revoke.")
    certificate_ids: list[str] = Field(description="Those that you may revoke, in order of id.")


class RevocationView(View):
    """What was revoked."""

    status: str
    certificate_id: str
    serials: list[str]
    reason: str
    revoked_at: datetime = Field(
        description="As CRL and OCSP say it; of what was on hold, when the hold began."
    )
    same_key: list[SameKeyView] = Field(
        description="After `keyCompromise`: what else is valid with a key of these. Revoke it with "
        "`POST /certificates/bulk-revoke` and the `spki_sha256`."
    )


class UnholdView(View):
    """What was released."""

    status: str
    certificate_id: str
    serials: list[str]


class CRLEventView(View):
    """One attempt to generate a CRL."""

    started_at: datetime
    trigger: str = Field(description="`tick`, `fetch`, `revoke`, `manual` or `start`.")
    part: str = Field(description="Empty for the complete list.")
    duration_ms: int
    succeeded: bool
    crl_number: int
    revoked_count: int
    error: str | None


class CRLPartView(View):
    """A partition of a CA key's CRL, or its delta."""

    part: str = Field(description="`16-3` for the fourth of sixteen partitions, or `delta`.")
    crl_number: int
    this_update: datetime
    next_update: datetime
    revoked_count: int
    is_stale: bool


class CRLCacheRow(View):
    """The CRL of one CA key."""

    issuer_id: str
    ca_key_id: str
    cache_present: bool
    crl_number: int | None
    this_update: datetime | None
    next_update: datetime | None
    generated_at: datetime | None
    generation_duration_ms: int | None
    revoked_count: int | None
    is_stale: bool
    parts: list[CRLPartView]
    recent_events: list[CRLEventView]


class CRLCacheView(View):
    """The CRLs of every CA key."""

    cache_rows: list[CRLCacheRow]
    row_count: int
    generated_at: datetime


class ResponderView(View):
    """The OCSP responder of one CA key."""

    issuer_id: str
    ca_key_id: str
    cert_subject: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    created_at: datetime
    key_path: str = Field(description="File of the key; `db:` where it is sealed in the row.")
    key_alg: str
    rotated_from: str | None = Field(description="Serial number of the responder before.")
    key_state: str = Field(
        description="`ready`; `due` or `unusable`: the next request or tick makes a new one."
    )
    problem: str | None = Field(description="Why it is not ready.")


class OCSPCacheView(View):
    """The stored OCSP answers of one issuer."""

    issuer_id: str
    good: int
    revoked: int


class OCSPStateView(View):
    """The responders and the stored answers."""

    responders: list[ResponderView]
    cache: list[OCSPCacheView]
    direct_signing: bool = Field(description="The CA keys sign the answers themselves.")
    generated_at: datetime


class PurgeOCSPCache(Input):
    """Which stored answers are deleted; all when empty."""

    issuer_id: str | None = Field(None, max_length=128, description="Only of this issuer.")
    serial: str | None = Field(
        None, max_length=128, description="Only about this serial number, in any spelling."
    )


class PurgedView(View):
    """How many answers were deleted."""

    purged: int


class OCSPCheckView(View):
    """What OCSP says of a certificate now, read and verified."""

    certificate_id: str
    serial_number: str
    issuer_id: str
    ca_key_id: str
    url: str | None = Field(description="Where relying parties ask; none is in the certificate.")
    response_status: str = Field(description="`successful`, or what the response says instead.")
    status: str | None = Field(description="`good`, `revoked` or `unknown`.")
    reason: str | None
    revoked_at: datetime | None
    produced_at: datetime | None
    this_update: datetime | None
    next_update: datetime | None
    responder_key_id: str | None
    is_verified: bool = Field(
        description="The CA, or a responder that it has entitled, has signed the response."
    )
    problem: str | None = Field(description="Why the response is not accepted.")


class DeltaCheckView(View):
    """What the delta of a complete list says of a certificate."""

    crl_number: int
    base_number: int = Field(description="It holds what came and went since this complete list.")
    this_update: datetime
    next_update: datetime
    entries: int
    says: str | None = Field(description="`revoked`, `removed`, or nothing.")
    is_verified: bool
    problem: str | None


class CRLCheckView(View):
    """What the published CRL says of a certificate now, read and verified."""

    certificate_id: str
    serial_number: str
    issuer_id: str
    ca_key_id: str
    url: str | None = Field(description="Where relying parties look; none is in the certificate.")
    part: str = Field(description="The partition that the certificate names; empty for all.")
    crl_number: int
    this_update: datetime
    next_update: datetime
    entries: int
    is_listed: bool = Field(description="The list says that the certificate is revoked.")
    reason: str | None
    revoked_at: datetime | None
    invalidity_date: datetime | None
    delta: DeltaCheckView | None = Field(description="The delta that the list names.")
    is_verified: bool = Field(description="The CA has signed the list.")
    problem: str | None = Field(description="Why relying parties cannot rely on the list.")


class RegeneratedView(View):
    """CRLs that were just generated."""

    issuer_id: str
    crl_numbers: dict[str, int]


class RotatedView(View):
    """Responders that were just replaced."""

    issuer_id: str
    serial_numbers: dict[str, str]
