"""What the API shows of the audit log, and its queries."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.audit.types import BreakReason
from certctl_core.kernel.events import Category
from certctl_core.kernel.operations import Input, ListQuery, View


class AuditEventView(View):
    """One event."""

    id: str
    seq: int | None = Field(description="Its leaf index in the log; null until it is sealed.")
    timestamp: datetime
    actor: str
    actor_type: ActorType
    action: str
    event_category: Category
    resource_type: str
    resource_id: str
    details: dict[str, Any]
    redacted_keys: list[str] = Field(description="Paths in `details` that were redacted.")
    request_id: str


class AuditQuery(ListQuery):
    """Filters of the audit list."""

    category: Category | None = None
    actor: str | None = Field(None, max_length=255)
    actor_type: ActorType | None = None
    action: str | None = Field(None, max_length=128)
    resource_type: str | None = Field(None, max_length=64)
    resource_id: str | None = Field(None, max_length=255)
    since: AwareDatetime | None = Field(None, description="From this time on.")
    until: AwareDatetime | None = Field(None, description="Before this time; later than `since`.")


class VerifyReport(View):
    """What a verification found."""

    ok: bool
    tree_size: int = Field(description="Leaves up to the last checkpoint that was verified.")
    root_hash: str = Field(description="Its root, base64.")
    from_index: int = Field(description="The first leaf that was looked at.")
    is_full: bool
    reason: BreakReason | None = None
    first_bad_index: int | None = None
    first_bad_event_id: str | None = None
    checked_at: datetime


class CheckpointView(View):
    """The newest checkpoint."""

    note: str = Field(description="A signed note in C2SP tlog-checkpoint form.")
    origin: str
    tree_size: int
    root_hash: str = Field(description="Base64.")
    created_at: datetime
    key: str = Field(description="The verifier key: name, id and public key.")
    last_verification: VerifyReport | None


class ProofView(View):
    """An inclusion proof (RFC 6962 §2.1.1)."""

    event_id: str
    leaf_index: int
    leaf_hash: str = Field(description="Base64.")
    tree_size: int
    hashes: list[str] = Field(description="The audit path, base64, from the leaf upwards.")
    checkpoint: str


class ConsistencyView(View):
    """A consistency proof (RFC 6962 §2.1.2)."""

    first: int
    second: int
    first_root: str
    second_root: str
    hashes: list[str]


class ConsistencyQuery(BaseModel):
    """Between which sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)

    first: int = Field(alias="from", ge=1, description="The smaller tree size.")
    second: int | None = Field(
        None, alias="to", ge=1, description="The larger one; the newest checkpoint's by default."
    )


class VerifyRequest(Input):
    """How much to verify."""

    full: bool = Field(
        default=False, description="From the first leaf instead of the last verified one."
    )


class ExportFormat(StrEnum):
    """In which form events are exported."""

    NDJSON = "ndjson"
    CSV = "csv"


class ExportQuery(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)

    since: AwareDatetime = Field(alias="from", description="From this time on.")
    until: AwareDatetime = Field(alias="to", description="Before this time.")
    category: Category | None = None
    limit: int = Field(50_000, ge=1, le=100_000, description="At most so many events.")
    format: ExportFormat = ExportFormat.NDJSON
