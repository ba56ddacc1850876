"""The issuers room on a fresh database, with the local kind and two foreign ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from certctl_signers.file import KeyFiles
from pydantic import model_validator
from typing_extensions import override

from certctl_core.contracts.errors import AuthError, ConfigError, UpstreamUnavailable
from certctl_core.contracts.host.contexts import (
    HostContext,
    MemoryState,
    ProcessLocks,
    plugin_logger,
)
from certctl_core.contracts.host.discover import discover
from certctl_core.contracts.host.registry import Registry
from certctl_core.contracts.issuers import (
    Cap,
    Check,
    CheckReport,
    Issued,
    Issuer,
    IssuerContext,
    IssueRequest,
)
from certctl_core.contracts.options import HttpsUrl, PluginConfig, Reference, Secret, option, secret
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.signers import SignerProvider
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import ChangeFeed, Database, UnitOfWorkFactory, Uow, metadata
from certctl_core.kernel.errors import Forbidden
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.kernel.secrets import Credential, Keyring, KeySpec
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    AuthoritySettings,
    Loader,
    LocalIssuerPlugin,
)
from certctl_core.lifecycle.issuers import IssuerService, IssuerWorkflow, Parts
from certctl_core.lifecycle.issuers.operations import operations
from certctl_core.testing.fakes import FakeClock

ADMIN = Actor(type=ActorType.API_KEY, id="ak-admin")


class WidgetsConfig(PluginConfig):
    base_url: HttpsUrl = option(title="API URL")
    api_key: Secret = secret(title="API key")
    second_key: Secret | None = secret(None, title="Second key")
    product: str = option("basic", title="Product")

    @model_validator(mode="after")
    def _product_exists(self) -> WidgetsConfig:
        if self.product == "unknown":
            message = "there is no such product"
            raise ValueError(message)
        return self


class Widgets(Issuer):
    """A vendor CA whose behaviour a test sets by the product."""

    kind = "widgets"
    title = "Widgets CA"
    api_version = 1
    Config = WidgetsConfig
    aliases = ("AcmeWidgets",)
    capabilities = frozenset({Cap.CA_CHAIN, Cap.TTL})
    alive: ClassVar[list[Widgets]] = []
    asked: ClassVar[list[str]] = []

    def __init__(self, config: PluginConfig, ctx: IssuerContext) -> None:
        super().__init__(config, ctx)
        self.settings = cast("WidgetsConfig", config)
        self.closed = False
        if self.settings.product == "refused":
            raise ConfigError(reason="the product is refused")

    @override
    def open(self) -> None:
        if self.settings.product == "unopenable":
            raise UpstreamUnavailable(reason="the door is shut")
        self.alive.append(self)

    @override
    def close(self) -> None:
        self.closed = True

    @override
    def test(self) -> CheckReport:
        if self.settings.product == "unreachable":
            raise UpstreamUnavailable(reason=f"no answer, key {self.settings.api_key.reveal()}")
        return CheckReport.of([Check(name="authentication", ok=True)])

    @override
    def submit(self, req: IssueRequest) -> Issued:
        if self.settings.product == "unauthorised":
            raise AuthError(reason="wrong key")
        self.asked.append(self.settings.api_key.reveal())
        return Issued(leaf="leaf", chain=(), vendor_ref=f"w-{req.tag}")

    @override
    def ca_chain(self) -> list[str]:
        self.asked.append("chain")
        return ["-----BEGIN CERTIFICATE-----\n…"]


class Scripted(Issuer):
    """A kind that runs code of the operator."""

    kind = "scripted"
    title = "Scripted CA"
    api_version = 1
    capabilities = frozenset({Cap.EXECUTES_CODE})

    @override
    def test(self) -> CheckReport:
        return CheckReport()

    @override
    def submit(self, req: IssueRequest) -> Issued:
        return Issued(leaf="leaf")


class Missing(Scripted):
    """A kind whose package is not installed."""

    kind = "missing"
    title = "Missing CA"
    packages = ("certctl_no_such_package",)
    extra = "missing"
    capabilities = frozenset()


class Vendors:
    @hookimpl
    def certctl_issuers(self) -> list[type[Issuer]]:
        return [Widgets, Scripted, Missing]


class NoHttp:
    """HTTP clients of an instance that never goes out."""

    def __init__(self) -> None:
        self.is_closed = False

    def __call__(self, base_url: str, **_settings: Any) -> Any:
        raise AssertionError(base_url)

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Room:
    """One process: issuers, authorities and the operations over them."""

    database: Database
    units: UnitOfWorkFactory
    clock: FakeClock
    data_dir: Path
    events: list[Emitted] = field(default_factory=list)
    keys: Sequence[KeySpec] = (KeySpec(kid="k1", material=Credential(b"k" * 32)),)
    allowed: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)
    vendors: bool = True

    def __post_init__(self) -> None:
        self.feed = ChangeFeed(self.database, clock=self.clock)
        self.units.on_wake = self.feed.wake
        self.authorities = AuthorityService(
            units=self.units,
            clock=self.clock,
            loader=Loader(
                settings=AuthoritySettings(public_base="http://pki.example.com"),
                clock=self.clock,
                signer=lambda _kind: self._files(self.data_dir),
                file_signer=lambda root, _passphrase: self._files(root),
            ),
            feed=self.feed,
        )
        builtins: list[tuple[str, object]] = [("local", LocalIssuerPlugin(self.authorities))]
        if self.vendors:
            builtins.append(("vendors", Vendors()))
        self.registry = Registry(discover(builtins=builtins, entry_points=[]))
        self.service = IssuerService(
            parts=Parts(
                kinds=self.registry.issuers,
                units=self.units,
                clock=self.clock,
                keyring=Keyring(self.keys, salt=b"s" * 16),
                http=NoHttp,
                lookup=self._lookup,
            ),
            feed=self.feed,
        )
        self.workflow = IssuerWorkflow(
            service=self.service, units=self.units, require=self._require
        )
        listed = operations(
            service=self.service, workflow=self.workflow, authorities=self.authorities
        )
        self.operations: Mapping[str, Operation] = {item.name: item for item in listed}

    def call(
        self,
        name: str,
        issuer_id: str = "",
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        if_match: int | None = None,
        scopes: Sequence[Resource] | None = None,
        **path: str,
    ) -> Any:
        """Run an operation as the dispatcher does."""
        operation = self.operations[name]
        parameters = {"issuer_id": issuer_id} if issuer_id else dict(path)
        made = Call(
            actor=ADMIN,
            request_id="r-1",
            now=self.clock.now(),
            path=parameters,
            query=operation.query.model_validate(query or {}) if operation.query else None,
            body=operation.body.model_validate(body or {}) if operation.body else None,
            if_match=if_match,
            scopes=scopes,
        )
        if operation.transaction is Transaction.NONE:
            return operation.run(made)
        opened = self.units.read if operation.transaction is Transaction.READ else self.units.begin
        with opened(ADMIN, request_id="r-1") as uow:
            object.__setattr__(made, "uow", uow)
            return operation.run(made)

    def create(self, **changes: Any) -> Any:
        """Create the usual vendor issuer."""
        body: dict[str, Any] = {
            "id": "iss-widgets",
            "name": "Widgets",
            "kind": "widgets",
            "config": {"base_url": "https://ca.example.com/api", "api_key": "first-secret"},
        }
        return self.call("issuers.create", body=body | changes)

    def another(self, **changes: Any) -> Room:
        """Another process on the same database."""
        mine: dict[str, Any] = {
            "database": self.database,
            "clock": self.clock,
            "data_dir": self.data_dir,
            "events": self.events,
            "units": UnitOfWorkFactory(self.database, clock=self.clock, bus=self.units.bus),
        }
        return Room(**mine | changes)

    def tags(self) -> list[str]:
        """The tags of all issuer events so far."""
        tags = [emitted.event.tag for emitted in self.events]
        return [tag for tag in tags if tag.startswith("issuer.")]

    def _files(self, root: Path) -> SignerProvider:
        config = KeyFiles.Config.model_validate({"key_root": str(root)})
        context = HostContext(
            instance_id="signer-file",
            http=cast("Any", NoHttp()),
            clock=self.clock,
            log=plugin_logger("file", "signer-file"),
            state=MemoryState(),
            lock=ProcessLocks(),
            product="certctl/test",
        )
        return KeyFiles(config, context)

    def _lookup(self, reference: Reference) -> str:
        return self.secrets[reference.path]

    def _require(self, _uow: Uow, _actor: Actor, permission: str, _resource: Resource) -> None:
        if permission not in self.allowed:
            raise Forbidden


@pytest.fixture
def room(blank_database_url: str, clock: FakeClock, tmp_path: Path) -> Iterator[Room]:
    database = Database(blank_database_url)
    metadata.create_all(database.writer)
    bus: Bus[Uow] = Bus()
    events: list[Emitted] = []
    bus.at_commit(lambda _uow, emitted: events.extend(emitted))
    Widgets.alive.clear()
    Widgets.asked.clear()
    made = Room(
        database=database,
        units=UnitOfWorkFactory(database, clock=clock, bus=bus),
        clock=clock,
        data_dir=tmp_path / "data",
        events=events,
    )
    yield made
    made.service.close()
    database.close()


@pytest.fixture
def widgets() -> type[Widgets]:
    return Widgets


@pytest.fixture
def order() -> Callable[[str], IssueRequest]:
    def make(tag: str = "certctl:mc-1:ord-1") -> IssueRequest:
        return IssueRequest(
            csr_der=b"",
            csr_pem="",
            common_name="web.example.test",
            dns_names=("web.example.test",),
            idempotency_key="8f5f1a36-3f2b-4f53-9b62-0f3f5a6f9a10",
            tag=tag,
        )

    return make
