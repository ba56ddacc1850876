"""Answers of the trust-bundles room."""

from datetime import datetime

from pydantic import Field

from certctl_core.kernel.operations import View


class TrustAnchorView(View):
    """One certificate of a bundle."""

    subject: str
    not_after: datetime
    fingerprint_sha256: str
    expired: bool = Field(description="It ended since it was read and is not trusted any more.")


class TrustBundleView(View):
    """A trust bundle as it is in force in the process that answers."""

    name: str
    use: str = Field(description="What trusts it.")
    path: str
    loaded_at: datetime
    anchors: list[TrustAnchorView]
    warnings: list[str]
    last_error: str | None = Field(description="Why the last reload was refused, if it was.")


class TrustBundlesView(View):
    """Every trust bundle."""

    data: list[TrustBundleView]


class TrustReloadedView(View):
    """A bundle that was read again."""

    reloaded: bool
    name: str
    reloaded_at: datetime
    certs_loaded: int
    added: list[str]
    removed: list[str]
    warnings: list[str]
