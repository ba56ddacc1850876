"""A third party's issuers, installed beside certctl for a test: one with secrets, one that runs code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, cast

from typing_extensions import override

from certctl_core.contracts.host.discover import installed_entry_points
from certctl_core.contracts.issuers import (
    Cap,
    Check,
    CheckReport,
    Issued,
    Issuer,
    IssueRequest,
)
from certctl_core.contracts.options import (
    ClientCert,
    HttpsUrl,
    PluginConfig,
    Secret,
    client_cert,
    option,
    secret,
)
from certctl_core.contracts.plugin import hookimpl
from tests.core.issuers.conftest import Missing, Scripted


class Plan(StrEnum):
    SMALL = "small"
    LARGE = "large"


class WidgetsConfig(PluginConfig):
    base_url: HttpsUrl = option(title="API address", example="https://ca.example.com")
    api_key: Secret = secret(title="API key")
    webhook_key: Secret | None = secret(None, title="Webhook key")
    plan: Plan | None = option(None, title="Plan")
    is_strict: bool = option(default=True, title="Strict")
    regions: tuple[str, ...] = option(("eu",), title="Regions")
    labels: dict[str, int] = option({}, title="Labels")
    client: ClientCert | None = client_cert(title="Client certificate", required=False)


class Widgets(Issuer):
    """Its test succeeds with any key but ``wrong``, and remembers the configuration."""

    kind = "widgets"
    title = "Widgets CA"
    api_version = 1
    Config = WidgetsConfig
    capabilities = frozenset({Cap.TTL})
    seen: ClassVar[list[WidgetsConfig]] = []

    @override
    def test(self) -> CheckReport:
        config = cast("WidgetsConfig", self.config)
        self.seen.append(config)
        ok = config.api_key.reveal() != "wrong"
        hint = "" if ok else "Take a new key from the portal."
        detail = "the key is known" if ok else "the key is unknown"
        return CheckReport.of([Check(name="authentication", ok=ok, detail=detail, hint=hint)])

    @override
    def submit(self, req: IssueRequest) -> Issued:
        return Issued(leaf="leaf")


class Vendor:
    @hookimpl
    def certctl_issuers(self) -> list[type[Issuer]]:
        return [Widgets, Scripted, Missing]


plugin = Vendor()


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Put a distribution with these plugins on the path, as pip does."""
    info = folder / "widgets_ca-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: widgets-ca\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[certctl.plugins]\nwidgets = {__name__}:plugin\n")
    sys.path.insert(0, str(folder))
    installed_entry_points.cache_clear()
    Widgets.seen.clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        installed_entry_points.cache_clear()
