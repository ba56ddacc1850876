"""What calls an issuer between units of work: saving with a trial start, tests, the CA chain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.errors import PluginError, safe_text
from certctl_core.contracts.issuers import Cap
from certctl_core.contracts.options import PluginConfig
from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.ids import parse_id
from certctl_core.kernel.operations import Resource, unless_matched
from certctl_core.lifecycle.issuers.errors import (
    ConnectionTestFailed,
    IssuerCannotStart,
    IssuerNotFound,
    UnsupportedByIssuer,
)
from certctl_core.lifecycle.issuers.instances import RunningIssuer
from certctl_core.lifecycle.issuers.schemas import (
    CAChainView,
    CreateIssuer,
    IssuerBody,
    IssuerView,
    PatchIssuer,
    ReportView,
    TryIssuer,
)
from certctl_core.lifecycle.issuers.service import IssuerService
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.issuers")

CHAIN_LIFETIME = timedelta(hours=1)
_UNSAVED = "iss-unsaved"

Require = Callable[[Uow, Actor, str, Resource], None]
"""``AccessService.require``: raises when the actor lacks the permission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    revision: int
    view: CAChainView


class IssuerWorkflow:
    """The use cases of issuers that leave the database.

    Args:
        service: The issuers room.
        units: Opens the transactions.
        require: Decides about the permission that some kinds need on top.
    """

    def __init__(
        self, *, service: IssuerService, units: UnitOfWorkFactory, require: Require
    ) -> None:
        self._service = service
        self._units = units
        self._clock = units.clock
        self._require = require
        self._chains: dict[str, _Chain] = {}
        self._lock = threading.Lock()

    def create(self, body: CreateIssuer, *, actor: Actor, request_id: str) -> IssuerView:
        """Check, try to start, test if asked for, save, start.

        Raises:
            ConnectionTestFailed: ``test`` was asked for and failed; nothing was saved.
            IssuerCannotStart: The class refuses the configuration; nothing was saved.
            PermissionDenied: The kind runs code and the actor lacks ``issuer.execute``.
            As for ``IssuerService.create``.
        """
        kind, config = self._service.configs.check(body.kind, body.config)
        issuer_id = parse_id(body.id) if body.id else _UNSAVED
        with self._units.read(actor, request_id=request_id) as uow:
            self._may_execute(uow, kind, actor, Resource())
        self._try(issuer_id, kind, config, test=body.test)
        with self._units.begin(actor, request_id=request_id) as uow:
            view = self._service.create(uow, body)
        return self._start(view)

    def replace(
        self,
        issuer_id: str,
        body: IssuerBody,
        *,
        actor: Actor,
        request_id: str,
        if_match: int | None = None,
    ) -> IssuerView:
        """Try to start the whole new configuration, then save and switch over.

        Raises:
            IssuerCannotStart, PermissionDenied: As for ``create``.
            As for ``IssuerService.patch``.
        """

        def change() -> IssuerView:
            version = self._tried(
                issuer_id, body.config, replace=True, actor=actor, if_match=if_match
            )
            with self._units.begin(actor, request_id=request_id) as uow:
                return self._service.replace(uow, issuer_id, body, if_match=version)

        return self._start(unless_matched(if_match, change))

    def patch(
        self,
        issuer_id: str,
        body: PatchIssuer,
        *,
        actor: Actor,
        request_id: str,
        if_match: int | None = None,
    ) -> IssuerView:
        """As ``replace``, for a merge patch; without ``config`` nothing is tried."""

        def change() -> IssuerView:
            version = if_match
            if body.config is not None:
                version = self._tried(
                    issuer_id, body.config, replace=False, actor=actor, if_match=if_match
                )
            with self._units.begin(actor, request_id=request_id) as uow:
                return self._service.patch(uow, issuer_id, body, if_match=version)

        return self._start(unless_matched(if_match, change))

    def test(self, issuer_id: str, *, actor: Actor, request_id: str) -> ReportView:
        """Test a stored issuer and record the outcome; emits ``issuer.tested``.

        Returns:
            The report, also when checks failed or the issuer cannot even start.

        Raises:
            IssuerNotFound: No such issuer.
        """
        started = self._clock.monotonic()
        try:
            report = self._service.instance(issuer_id).test()
        except IssuerNotFound:
            raise
        except CertctlError as error:
            report = _failed("configuration", error)
        took = timedelta(seconds=self._clock.monotonic() - started)
        with self._units.begin(actor, request_id=request_id) as uow:
            return self._service.record_test(uow, issuer_id, report, took)

    def try_config(self, body: TryIssuer, *, actor: Actor, request_id: str) -> ReportView:
        """Test a configuration that is not saved.

        Raises:
            UnknownIssuerKind, IssuerKindUnavailable, ConfigInvalid: As for ``create``.
            IssuerNotFound: ``base_id`` leads nowhere.
            SecretNeedsReentry: Its secrets would go to another host.
            PermissionDenied: As for ``create``.
        """
        with self._units.read(actor, request_id=request_id) as uow:
            if body.base_id is None:
                issuer_id = _UNSAVED
                kind, config = self._service.configs.check(body.kind, body.config)
            else:
                row = self._service.row(uow, body.base_id)
                issuer_id, kind = row.id, row.kind
                config = self._service.configs.change(row, body.config, replace=True)
            self._may_execute(uow, kind, actor, Resource(issuer_id=issuer_id))
        started = self._clock.monotonic()
        report = self._trial(issuer_id, kind, config)
        took = timedelta(seconds=self._clock.monotonic() - started)
        return self._service.configs.report(report, took)

    def ca_chain(self, issuer_id: str, *, actor: Actor, request_id: str) -> CAChainView:
        """The CA certificates of an issuer; a foreign one is asked once an hour.

        Raises:
            IssuerNotFound: No such issuer.
            UnsupportedByIssuer: The kind does not tell.
            PluginError: The issuer could not be asked.
        """
        with self._units.read(actor, request_id=request_id) as uow:
            row = self._service.row(uow, issuer_id)
        now = self._clock.now()
        known = self._chains.get(issuer_id)
        if (
            known is not None
            and known.revision == row.revision
            and now - known.view.fetched_at < CHAIN_LIFETIME
            and row.kind not in self._service.parts.inline_kinds
        ):
            return known.view
        running = self._service.instance(issuer_id)
        if Cap.CA_CHAIN not in running.capabilities:
            raise UnsupportedByIssuer(issuer_id=issuer_id, capability=Cap.CA_CHAIN.value)
        view = CAChainView(certificates=running.ca_chain(), fetched_at=now)
        self._chains[issuer_id] = _Chain(revision=row.revision, view=view)
        return view

    def _tried(
        self,
        issuer_id: str,
        changes: Mapping[str, object],
        *,
        replace: bool,
        actor: Actor,
        if_match: int | None,
    ) -> int:
        """Try the configuration that a change makes; returns the version that it was tried on."""
        with self._units.read(actor) as uow:
            row = self._service.editable(uow, issuer_id, if_match)
            self._may_execute(uow, row.kind, actor, Resource(issuer_id=issuer_id))
        config = self._service.configs.change(row, changes, replace=replace)
        self._try(issuer_id, row.kind, config, test=False)
        return row.version

    def _may_execute(self, uow: Uow, kind: str, actor: Actor, resource: Resource) -> None:
        if Cap.EXECUTES_CODE in self._service.configs.require(kind).capabilities:
            self._require(uow, actor, "issuer.execute", resource)

    def _try(self, issuer_id: str, kind: str, config: PluginConfig, *, test: bool) -> None:
        if test:
            started = self._clock.monotonic()
            report = self._trial(issuer_id, kind, config)
            took = timedelta(seconds=self._clock.monotonic() - started)
            if not report.ok:
                shown = self._service.configs.report(report, took)
                raise ConnectionTestFailed(report=shown.model_dump(mode="json"))
            return
        try:
            self._service.parts.make(issuer_id, kind, config).retire()
        except PluginError as error:
            raise IssuerCannotStart(reason=error.detail, log=error.log) from error

    def _trial(self, issuer_id: str, kind: str, config: PluginConfig) -> CheckReport:
        running: RunningIssuer | None = None
        try:
            running = self._service.parts.make(issuer_id, kind, config)
            running.open()
            return running.test()
        except CertctlError as error:
            return _failed("configuration", error)
        finally:
            if running is not None:
                running.retire()

    def _start(self, view: IssuerView) -> IssuerView:
        """Start what was saved; one that cannot start is ``unavailable`` and says why."""
        try:
            running = self._service.instance(view.id)
            if view.enabled and view.kind in self._service.parts.inline_kinds:
                # Our own kinds make ready what they publish: a CA has its key from the start.
                running.ca_chain()
        except CertctlError as error:
            _log.warning("issuer.start_failed", issuer_id=view.id, error=error.code)
        with self._units.read() as uow:
            return self._service.get(uow, view.id)


def _failed(name: str, error: CertctlError) -> CheckReport:
    check = Check(name=name, ok=False, detail=safe_text(error.detail), hint=error.hint)
    return CheckReport.of([check])
