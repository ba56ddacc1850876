"""``Core``: a whole installation as one object, without a web framework and without globals."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from pydantic import BaseModel

from certctl_core.api import Dispatcher, OperationTable, openapi
from certctl_core.app.background import Background
from certctl_core.app.errors import DataDirUnusable
from certctl_core.app.keyring import open_keyring
from certctl_core.app.rooms import Rooms
from certctl_core.kernel.actors import SYSTEM, Actor
from certctl_core.kernel.clock import Clock, SystemClock
from certctl_core.kernel.config import Preflight, Settings
from certctl_core.kernel.db import ChangeFeed, Database, UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import Bus
from certctl_core.kernel.ids import Prefix, new_id, seeded_id
from certctl_core.kernel.observability import counter, histogram
from certctl_core.kernel.release import VERSION
from certctl_core.kernel.scheduler import Replica
from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    CAKeyUsageForbidsOCSP,
    CAMaterialError,
    IssuingCAUnusable,
)
from certctl_core.lifecycle.certificates import CreateCertificate
from certctl_core.lifecycle.issuance import IssuedCertificate
from certctl_core.people.access import CATALOGUE, Denials
from certctl_core.people.identity import ConfiguredKey
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.app")
_PRIVATE = 0o077
_CHILDREN = frozenset({"web", "background", "task"})
_HTTP_REQUESTS = counter(
    "certctl_http_requests_total", "HTTP requests answered.", ("method", "status")
)
_HTTP_SECONDS = histogram(
    "certctl_http_request_duration_seconds", "Time to answer an HTTP request.", ("method",)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """What the first steps of an installation brought to light.

    Attributes:
        first_admin_key: The administrator key that was just made: show it once, never log it.
    """

    first_admin_key: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether traffic may come, and why not."""

    ready: bool
    document: dict[str, Any] = field(default_factory=dict)


class Core:
    """One installation: its database, plugins, rooms and the operations they offer.

    Use :meth:`open`; close it, or use it as a context manager. Safe for threads; not to be shared
    over a fork.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock, database: Database, role: str = "embedded"
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.database = database
        self.version = VERSION
        self.replica = Replica(
            id=new_id(Prefix.REPLICA, at=clock.now()),
            hostname=socket.gethostname(),
            version=self.version,
            role=role,
        )
        self.role = role
        bus: Bus[Uow] = Bus()
        self.units = UnitOfWorkFactory(database, clock=clock, bus=bus)
        self.feed = ChangeFeed(database, clock=clock)
        self.units.on_wake = self.feed.wake
        is_sure = role in _CHILDREN  # of a boot that has looked at every sealed row
        self.keyring = open_keyring(settings, self.units, is_sure=is_sure)
        self.rooms = Rooms(
            settings=settings,
            clock=clock,
            units=self.units,
            bus=bus,
            feed=self.feed,
            keyring=self.keyring,
        )
        self.plugins = self.rooms.plugins
        self.keys = self.rooms.keys
        self.sessions = self.rooms.sessions
        self.pki = self.rooms.pki
        self.table = OperationTable(self.rooms.operations(), permissions=CATALOGUE)
        self.denials = Denials(self.units)
        self.dispatcher = Dispatcher(self.table, units=self.units, access=self.rooms.access)
        self.background = Background(
            settings=settings,
            clock=clock,
            units=self.units,
            feed=self.feed,
            rooms=self.rooms,
            replica=self.replica,
            is_alone=not database.is_postgres,
        )
        self.draining = False
        if role != "boot":  # which ends before another process has anything to tell it
            self.feed.start()

    @classmethod
    def open(
        cls,
        settings: Settings | Path | str,
        *,
        clock: Clock | None = None,
        migrate: bool = True,
        boot: bool = True,
        role: str = "embedded",
    ) -> Self:
        """Open an installation; with defaults everything is made that is missing.

        Args:
            settings: The settings, or a directory that holds (or will hold) everything.
            clock: The time; the machine's when None.
            migrate: Bring the schema up to date, else verify it.
            boot: Seed and load or make the CA (see :meth:`boot`).
            role: How the process is named in lists and logs.

        Raises:
            DatabaseUnavailable, DatabaseNewerThanCode, DatabaseNotMigrated: The database.
            KeyringMissing, KeyringWrong, DataDirUnusable: Secrets and files.
            CAMaterialError: The CA cannot be loaded; the leaf names file and reason.
            ResponderKeysApart: Another living server keeps OCSP responder keys elsewhere.
        """
        if not isinstance(settings, Settings):
            settings = Settings.for_directory(settings)
        prepare_data_dir(settings.data_dir)
        database = open_database(settings, role=role)
        try:
            migrations = import_module("certctl_migrations")
            if migrate:
                migrations.upgrade(database)
            else:
                migrations.check(database)
            core = cls(settings, clock=clock or SystemClock(), database=database, role=role)
        except BaseException:
            database.close()
            raise
        try:
            if boot:
                core.boot()
        except BaseException:
            core.close()
            raise
        return core

    def boot(self) -> BootReport:
        """Seed what must be there and load or make the CA; idempotent (08 boot steps 7 … 13).

        The key of the audit log is rotated where the settings want it elsewhere.
        """
        rooms = self.rooms
        rooms.audit_keys.move(self.units)
        with self.units.begin() as uow:
            rooms.access.sync_system_roles(uow)
            rooms.profiles.seed(uow)
            rooms.policies.seed(uow)
            rooms.routes.seed(uow)
            rooms.sessions.ensure_signing_key(uow)
            rooms.keys.apply_configured(
                uow,
                [
                    ConfiguredKey(
                        name=item.name,
                        key=item.key,
                        role_id=seeded_id(Prefix.ROLE, item.role),
                    )
                    for item in self.settings.auth.api_keys
                ],
            )
            if self.settings.ca.seed_local:
                rooms.issuers.seed_local(uow)
        rooms.key_places.check()
        if self.settings.ca.seed_local:
            self._boot_ca()
        with self.units.read() as uow:
            rooms.recovery.warn_of_copies(uow, self.settings.crl.export_dir)
        first = None
        if self.settings.auth.print_first_admin and self.role != "embedded":
            with self.units.begin() as uow:
                first = rooms.bootstrap.first_start(uow)
        elif self.role == "boot":
            with self.units.read() as uow:
                rooms.bootstrap.require_way_in(uow)
        return BootReport(first_admin_key=first)

    def _boot_ca(self) -> None:
        try:
            self._may_sign_ocsp(self.rooms.authorities.boot())
        except CAMaterialError as error:
            # Another CA of the tree is chosen through the API: it must be there to be asked.
            is_choice = isinstance(error, IssuingCAUnusable)
            if self.settings.ca.preflight is not Preflight.WARN and not is_choice:
                raise
            _log.warning("ca.unusable", code=error.code, reason=error.detail)

    def _may_sign_ocsp(self, key: AuthorityKey) -> None:
        """Refuse a CA that is to sign OCSP responses and must not (02 RSP-6)."""
        if self.settings.ocsp.direct_signing and not key.may_sign_ocsp:
            path = str(self.settings.ca.cert_path or key.key_ref)
            reason = "its key usage lacks digitalSignature, and CERTCTL_OCSP_DIRECT_SIGNING is on"
            raise CAKeyUsageForbidsOCSP(path=path, reason=reason)

    def begin(self, actor: Actor = SYSTEM, *, request_id: str = "") -> AbstractContextManager[Uow]:
        """A write transaction; see ``UnitOfWorkFactory.begin``."""
        return self.units.begin(actor, request_id=request_id)

    def call(
        self,
        name: str,
        *,
        actor: Actor = SYSTEM,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, object] | BaseModel | None = None,
        body: Mapping[str, object] | BaseModel | None = None,
    ) -> Any:
        """Run an operation by name and get its view, page or file.

        Raises:
            KeyError: No such operation.
            CertctlError: Whatever the operation raises.
        """
        return self.dispatcher.call(name, actor=actor, path=path, query=query, body=body)

    def issue(self, csr_pem: str, *, actor: Actor = SYSTEM, **members: object) -> IssuedCertificate:
        """Issue a certificate from a CSR at once.

        Args:
            csr_pem: PKCS#10 in PEM.
            actor: On whose behalf.
            members: Of ``CreateCertificate``: ``name``, ``common_name``, ``sans``, ``issuer_id`` …

        Raises:
            CSRRejected, ApprovalRequired, CertificateNameTaken: See ``IssuanceWorkflow``.
        """
        body = CreateCertificate.model_validate({**members, "csr_pem": csr_pem})
        return self.rooms.issuance.create_and_issue(body, csr_pem, actor=actor, request_id="")

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of this installation."""
        return openapi(self.table)

    def readiness(self) -> Readiness:
        """Whether the database answers and nothing is being shut down (08 HLTH-1)."""
        if self.draining:
            return Readiness(ready=False, document={"status": "draining"})
        try:
            self.database.ping()
        except CertctlError:
            return Readiness(ready=False, document={"status": "db_unavailable"})
        return Readiness(ready=True, document={"status": "ready", "db": "reachable"})

    def http_metrics(self, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        _HTTP_REQUESTS.labels(method, str(status)).inc()
        _HTTP_SECONDS.labels(method).observe(seconds)

    def reload(self) -> None:
        """Read again what SIGHUP names: trust bundles and CA files, each by itself (02 TRUST-3).

        Raises:
            TrustBundleError, CAMaterialError: The first failure; what cannot be read keeps its old
                value.
        """
        failures = []
        # Of the processes of one server, all hear the signal; the background one writes it down.
        trust = partial(self.rooms.trust_reloads.reload_all, is_audited=self.role != "web")
        for part in (trust, self.rooms.authorities.reload):
            try:
                part()
            except CertctlError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Stop background work, close plugins and the database."""
        self.background.stop()
        self.feed.stop()
        self.rooms.close()
        self.database.close()

    def __enter__(self) -> Self:
        """The core itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def prepare_data_dir(path: Path) -> None:
    """Make the data directory with mode 0700, or tighten it.

    Raises:
        DataDirUnusable: It cannot be made, or is not a directory.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & _PRIVATE:
            path.chmod(0o700)
    except OSError as error:
        raise DataDirUnusable(path=str(path), reason=error.strerror or "unknown") from error


def open_database(
    settings: Settings, *, role: str, connect_timeout: timedelta | None = None
) -> Database:
    """The database of the settings; nothing is connected yet."""
    database = settings.database
    return Database(
        database.dsn.reveal(),
        max_connections=database.max_conns,
        connect_timeout=connect_timeout or database.connect_timeout,
        statement_timeout=database.statement_timeout,
        lock_timeout=database.lock_timeout,
        application_name=f"certctl-{role}",
        transaction_pooler=database.pooler == "transaction",
    )
