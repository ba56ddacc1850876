"""Bodies and answers of the issuers room."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from certctl_core.kernel.operations import Input, ListQuery, View
from certctl_core.lifecycle.authorities import CAKeyView
from certctl_core.lifecycle.issuers.types import (
    IssuerHealth,
    IssuerSource,
    IssuerState,
    TestStatus,
)

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Kind = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Config = dict[str, Any]
"""Plain JSON; the kind's schema says what belongs in it."""


class IssuerBody(Input):
    """The mutable part of an issuer."""

    name: Name = Field(description="Unique name.")
    config: Config = Field(
        default_factory=dict, description="By the kind's schema (see issuer types)."
    )
    enabled: bool = Field(default=True, description="Whether it takes orders.")


class CreateIssuer(IssuerBody):
    """A new issuer."""

    id: str | None = Field(None, max_length=128, description="Chosen id; made when absent.")
    kind: Kind = Field(description="Kind or alias; cannot be changed later.")
    test: bool = Field(default=False, description="Test first; save nothing if it fails.")


class PatchIssuer(Input):
    """A merge patch: what is absent stays, null clears; a secret that is absent is kept."""

    name: Name | None = None
    config: Config | None = None
    enabled: bool | None = None


class TryIssuer(Input):
    """A configuration that is tested and not saved."""

    kind: Kind
    config: Config = Field(default_factory=dict)
    base_id: str | None = Field(
        None, max_length=128, description="Take secrets that are absent from this issuer."
    )


class CheckView(View):
    """One thing that a test looked at."""

    name: str
    ok: bool
    detail: str = ""
    hint: str = ""


class ReportView(View):
    """The result of a test."""

    ok: bool
    checks: list[CheckView]
    duration_ms: int


class IssuerView(View):
    """One configured issuer; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str = Field(description="The kind's name for people.")
    config: Config
    capabilities: list[str] = Field(description="What the kind can do; empty if unavailable.")
    enabled: bool
    source: IssuerSource
    state: IssuerState
    state_reason: str
    health: IssuerHealth
    test_status: TestStatus
    last_tested_at: datetime | None
    last_test_report: ReportView | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class IssuerQuery(ListQuery):
    """Filters of the issuer list."""

    kind: str | None = Field(None, max_length=64)
    enabled: bool | None = None
    health: IssuerHealth | None = None


class IssuerKindView(View):
    """One kind of issuer that is installed, also one that cannot be used and why."""

    kind: str
    title: str
    summary: str
    available: bool
    error: str | None = Field(description="Why it cannot be used.")
    capabilities: list[str]
    aliases: list[str]
    schema_: dict[str, Any] | None = Field(
        alias="schema", description="JSON Schema of its configuration."
    )
    docs: str | None


class CAKeysView(View):
    """The CA keys of an issuer."""

    data: list[CAKeyView]


class CAChainView(View):
    """The CA certificates of an issuer: the issuing one first, the root last if it is known."""

    certificates: list[str]
    fetched_at: datetime
