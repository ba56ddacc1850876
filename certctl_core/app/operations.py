"""Use cases about the installation itself: version, plugins."""

from __future__ import annotations

import platform
from datetime import datetime

from pydantic import Field

from certctl_core.app.signers import SignerListView, Signers
from certctl_core.contracts.host.registry import Registry
from certctl_core.kernel.operations import Access, Operation, Transaction, View
from certctl_core.kernel.release import facts


class ReleaseView(View):
    """Which release answers."""

    version: str
    commit: str | None = Field(description="The commit that was built; null where not known.")
    modified: bool | None = Field(
        description="Whether what was built differs from the commit; null where not known."
    )
    build_time: datetime | None = Field(description="When it was built; null where not known.")
    python_version: str


class PluginView(View):
    """One plugin kind, or a plugin that could not be used."""

    kind: str
    hook: str
    title: str
    distribution: str
    version: str
    available: bool
    error: str
    capabilities: list[str]
    aliases: list[str]


class PluginListView(View):
    """What is installed."""

    plugins: list[PluginView] = Field(default_factory=list)


def operations(*, plugins: Registry, signers: Signers) -> tuple[Operation, ...]:
    """Declare version, plugins and signers."""

    def listed() -> PluginListView:
        return PluginListView(
            plugins=[
                PluginView.model_validate(info, from_attributes=True) for info in plugins.describe()
            ]
        )

    return (
        Operation(
            name="version",
            method="GET",
            path="/version",
            summary="Show the server's version",
            access=Access.PUBLIC,
            output=ReleaseView,
            transaction=Transaction.READ,
            run=lambda _call: ReleaseView.model_validate(
                {**facts(), "python_version": platform.python_version()}
            ),
            tags=("system",),
        ),
        Operation(
            name="plugins.list",
            method="GET",
            path="/plugins",
            summary="List installed plugins, with the reason where one cannot be used",
            permission="issuer.read",
            output=PluginListView,
            transaction=Transaction.READ,
            run=lambda _call: listed(),
            tags=("system",),
        ),
        Operation(
            name="signers.list",
            method="GET",
            path="/signers",
            summary="List the signers, whether their keys can be had, and what each is used for",
            permission="issuer.read",
            output=SignerListView,
            transaction=Transaction.NONE,
            run=lambda _call: signers.describe(),
            tags=("system",),
        ),
    )
