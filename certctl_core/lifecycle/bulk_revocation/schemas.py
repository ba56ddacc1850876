"""Bodies and answers of the bulk-revocation room."""

from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from certctl_core.kernel.operations import Input, View
from certctl_core.lifecycle.certificates import Source

MOST_IDS = 5000
"""Certificates that one request may name one by one."""


class BulkCriteria(Input):
    """Which certificates: those that have everything in common that is given."""

    certificate_ids: list[str] | None = Field(
        None, min_length=1, max_length=MOST_IDS, description="Among these."
    )
    profile_id: str | None = Field(None, max_length=128, description="Of this profile.")
    issuer_id: str | None = Field(None, max_length=128, description="Of this issuer.")
    agent_id: str | None = Field(
        None, max_length=128, description="With a key in use on this agent."
    )
    ca_key_id: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="With a version in use of this CA key."
    )
    spki_sha256: str | None = Field(
        None,
        pattern=r"^[0-9A-Fa-f]{64}$",
        description="With a valid version of this public key, in use or not; only such versions "
        "are revoked, also of revoked and archived certificates.",
    )
    source: Source | None = Field(None, description="That came from there; too broad alone.")

    @model_validator(mode="after")
    def _narrow_enough(self) -> Self:
        narrow = (self.certificate_ids, self.profile_id, self.issuer_id, self.agent_id)
        if not any((*narrow, self.ca_key_id, self.spki_sha256)):
            message = (
                "name certificate_ids, profile_id, issuer_id, agent_id, ca_key_id or spki_sha256;"
                " a source alone is too broad"
            )
            raise ValueError(message)
        return self


class BulkRevoke(BulkCriteria):
    """Revoke many certificates at once (02 REV-4)."""

    reason: str = Field(max_length=64, description="RFC 5280 CRLReason.")
    invalidity_date: AwareDatetime | None = Field(
        None, description="Since when the keys are thought to be unusable."
    )
    dry_run: bool = Field(default=False, description="Only count; nothing is revoked.")
    expected_count: int | None = Field(
        None, ge=0, description="Refuse when another number of certificates matches."
    )


class BulkJob(Input):
    """What the job of a large bulk revocation carries."""

    bulk_id: str
    criteria: BulkCriteria
    scopes: list[dict[str, str | None]] | None = None
    reason: str
    invalidity_date: datetime | None = None
    actor_type: str
    actor_id: str


class BulkFailure(View):
    """One certificate that could not be revoked."""

    certificate_id: str
    code: str
    error: str


class BulkResult(View):
    """What became of a bulk revocation."""

    id: str
    reason: str
    dry_run: bool
    total_matched: int = Field(description="Certificates that match, whatever their state.")
    to_revoke: int = Field(description="Those of them that were neither revoked nor archived.")
    total_revoked: int
    total_skipped: int = Field(description="Revoked or archived before.")
    total_failed: int
    errors: list[BulkFailure] = Field(description="The first thousand failures.")
    job_id: str | None = Field(description="The job that does it, where it takes longer.")
