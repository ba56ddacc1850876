"""A CA room on a fresh database, with real signers in a directory of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from certctl_signers.file import KeyFiles
from certctl_signers.memory import Memory
from certctl_signers.pkcs11 import PKCS11

from certctl_core.contracts.host.contexts import (
    HostContext,
    MemoryState,
    ProcessLocks,
    plugin_logger,
)
from certctl_core.contracts.options import validate_config
from certctl_core.contracts.signers import SignerProvider
from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow, metadata
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    AuthoritySettings,
    Loader,
    Local,
    LocalConfig,
    LocalIssuerPlugin,
)
from certctl_core.testing.fakes import FakeClock


def context(instance_id: str, clock: FakeClock) -> HostContext:
    """The context of one plugin instance that needs no network."""
    return HostContext(
        instance_id=instance_id,
        http=None,  # type: ignore[arg-type] # neither signers nor the local issuer go out
        clock=clock,
        log=plugin_logger("test", instance_id),
        state=MemoryState(),
        lock=ProcessLocks(),
        product="certctl/test",
    )


@dataclass
class Room:
    """Everything of one process: ``restart`` makes another one on the same data."""

    database: Database
    units: UnitOfWorkFactory
    clock: FakeClock
    data_dir: Path
    settings: AuthoritySettings
    events: list[Emitted] = field(default_factory=list)
    signers: dict[str, SignerProvider] = field(default_factory=dict)
    memory: SignerProvider | None = None

    def __post_init__(self) -> None:
        self.memory = Memory(Memory.Config(), context("memory", self.clock))
        self.authorities = AuthorityService(
            units=self.units,
            clock=self.clock,
            loader=Loader(
                settings=self.settings,
                clock=self.clock,
                signer=self._signer,
                file_signer=self._files,
            ),
        )

    def _signer(self, kind: str) -> SignerProvider:
        assert self.memory is not None
        if kind in self.signers:
            return self.signers[kind]
        return self.memory if kind == "memory" else self._files(self.data_dir, None)

    def _files(self, root: Path, passphrase: Secret | None) -> SignerProvider:
        config = KeyFiles.Config.model_validate({"key_root": str(root), "passphrase": passphrase})
        return KeyFiles(config, context("file", self.clock))

    def restart(self, **settings: object) -> Room:
        """The same data seen by a new process, perhaps with other settings."""
        return Room(
            database=self.database,
            units=self.units,
            clock=self.clock,
            data_dir=self.data_dir,
            settings=AuthoritySettings(signer=self.settings.signer, **settings)  # type: ignore[arg-type]
            if settings
            else self.settings,
            events=self.events,
            signers=self.signers,
        )

    def issuer(self, issuer_id: str = "iss-local", **config: object) -> Local:
        """The local issuer of an id, not opened."""
        cls = LocalIssuerPlugin(self.authorities).certctl_issuers()[0]
        made = cls(LocalConfig(**config), context(issuer_id, self.clock))  # type: ignore[arg-type]
        assert isinstance(made, Local)
        return made

    def tags(self) -> list[str]:
        """The tags of all events so far."""
        return [emitted.event.tag for emitted in self.events]


SIGNERS = ("file", "kept", "pkcs11")
"""``kept`` is the memory signer, shared by all processes of a test: its keys outlive restarts."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a CA over every signer, unless it names the one that it is about."""
    pinned = any(
        "signer_kind" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "signer_kind" in metafunc.fixturenames and not pinned:
        metafunc.parametrize("signer_kind", SIGNERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Over other signers than files one engine is enough: no signer knows the database."""

    def is_too_much(item: pytest.Item) -> bool:
        params = getattr(getattr(item, "callspec", None), "params", {})
        is_other = params.get("signer_kind", "file") != "file"
        return is_other and params.get("database_engine") == "postgres"

    left_out = [item for item in items if is_too_much(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not is_too_much(item)]


@pytest.fixture
def signers(
    signer_kind: str, clock: FakeClock, request: pytest.FixtureRequest
) -> Iterator[dict[str, SignerProvider]]:
    """The signer under test, by its kind."""
    made: SignerProvider
    if signer_kind == "file":
        yield {}
        return
    if signer_kind == "kept":
        made = Memory(Memory.Config(), context("kept", clock))
    else:
        raw = request.getfixturevalue("softhsm").raw_config()
        made = PKCS11(validate_config(PKCS11.Config, raw), context("pkcs11", clock))
    yield {signer_kind: made}
    made.close()


@pytest.fixture
def room(
    blank_database_url: str,
    clock: FakeClock,
    tmp_path: Path,
    signer_kind: str,
    signers: dict[str, SignerProvider],
) -> Iterator[Room]:
    database = Database(blank_database_url)
    metadata.create_all(database.writer)
    bus: Bus[Uow] = Bus()
    events: list[Emitted] = []
    bus.at_commit(lambda _uow, emitted: events.extend(emitted))
    yield Room(
        database=database,
        units=UnitOfWorkFactory(database, clock=clock, bus=bus),
        clock=clock,
        data_dir=tmp_path / "data",
        settings=AuthoritySettings(public_base="http://pki.example.com", signer=signer_kind),
        events=events,
        signers=signers,
    )
    database.close()


@pytest.fixture
def openssl(tool: Callable[[str], str]) -> str:
    return tool("openssl")
