"""What calls a notifier between units of work: saving with a trial start, and tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.errors import PluginError, safe_text
from certctl_core.contracts.options import PluginConfig
from certctl_core.insight.notifications.errors import (
    NotifierCannotStart,
    NotifierDisabled,
    NotifierNotFound,
    NotifierTestFailed,
)
from certctl_core.insight.notifications.instances import RunningNotifier
from certctl_core.insight.notifications.schemas import (
    CreatedNotifierView,
    CreateNotifier,
    NotifierBody,
    NotifierReportView,
    NotifierView,
    PatchNotifier,
    TryNotifier,
)
from certctl_core.insight.notifications.service import NotifierService
from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.ids import parse_id
from certctl_core.kernel.operations import unless_matched

_log = structlog.get_logger("certctl.notifications")
_UNSAVED = "nfr-unsaved"


class NotifierWorkflow:
    """The use cases of notifiers that leave the database.

    Args:
        service: The notifiers.
        units: Opens the transactions.
    """

    def __init__(self, *, service: NotifierService, units: UnitOfWorkFactory) -> None:
        self._service = service
        self._units = units
        self._clock = units.clock

    def create(self, body: CreateNotifier, *, actor: Actor, request_id: str) -> CreatedNotifierView:
        """Check, make the secrets that are missing, try to start, test if asked for, save, start.

        Returns:
            The notifier, with the secrets that were made: they are never shown again.

        Raises:
            NotifierTestFailed: ``test`` was asked for and failed; nothing was saved.
            NotifierCannotStart: The class refuses the configuration; nothing was saved.
            As for ``NotifierService.create``.
        """
        filled, made = self._service.configs.with_generated(body.kind, body.config)
        kind, config = self._service.configs.check(body.kind, filled)
        notifier_id = parse_id(body.id) if body.id else _UNSAVED
        self._try(notifier_id, kind, config, test=body.test)
        with self._units.begin(actor, request_id=request_id) as uow:
            view = self._service.create(uow, body.model_copy(update={"config": filled}))
        started = self._start(view)
        return CreatedNotifierView(**started.model_dump(), generated_secrets=made)

    def replace(
        self,
        notifier_id: str,
        body: NotifierBody,
        *,
        actor: Actor,
        request_id: str,
        if_match: int | None = None,
    ) -> NotifierView:
        """Try to start the whole new configuration, then save and switch over.

        Raises:
            NotifierCannotStart: As for ``create``.
            As for ``NotifierService.patch``.
        """

        def change() -> NotifierView:
            version = self._tried(notifier_id, body.config, replace=True, if_match=if_match)
            with self._units.begin(actor, request_id=request_id) as uow:
                return self._service.replace(uow, notifier_id, body, if_match=version)

        return self._start(unless_matched(if_match, change))

    def patch(
        self,
        notifier_id: str,
        body: PatchNotifier,
        *,
        actor: Actor,
        request_id: str,
        if_match: int | None = None,
    ) -> NotifierView:
        """As ``replace``, for a merge patch; without ``config`` nothing is tried."""

        def change() -> NotifierView:
            version = if_match
            if body.config is not None:
                version = self._tried(notifier_id, body.config, replace=False, if_match=if_match)
            with self._units.begin(actor, request_id=request_id) as uow:
                return self._service.patch(uow, notifier_id, body, if_match=version)

        return self._start(unless_matched(if_match, change))

    def test(
        self, notifier_id: str, *, send: bool, actor: Actor, request_id: str
    ) -> NotifierReportView:
        """Test a stored notifier, a disabled one too; emits ``notifier.tested``.

        Args:
            notifier_id: Which one.
            send: Deliver a message that is marked as a test, instead of only connecting.
            actor: On whose behalf.
            request_id: In which request.

        Returns:
            The report, also when checks failed or the notifier cannot even start.

        Raises:
            NotifierNotFound: No such notifier.
        """
        started = self._clock.monotonic()
        try:
            report = self._service.instance(notifier_id, even_disabled=True).test(send=send)
        except NotifierNotFound:
            raise
        except CertctlError as error:
            report = _failed(error)
        took = timedelta(seconds=self._clock.monotonic() - started)
        with self._units.begin(actor, request_id=request_id) as uow:
            return self._service.record_test(uow, notifier_id, report, took, sent=send)

    def try_config(self, body: TryNotifier, *, actor: Actor, request_id: str) -> NotifierReportView:
        """Test a configuration that is not saved.

        Raises:
            UnknownNotifierKind, NotifierKindUnavailable, ConfigInvalid: As for ``create``.
            NotifierNotFound: ``base_id`` leads nowhere.
            SecretNeedsReentry: Its secrets would go to another host.
        """
        if body.base_id is None:
            notifier_id = _UNSAVED
            filled, _ = self._service.configs.with_generated(body.kind, body.config)
            kind, config = self._service.configs.check(body.kind, filled)
        else:
            with self._units.read(actor, request_id=request_id) as uow:
                row = self._service.row(uow, body.base_id)
            notifier_id, kind = row.id, row.kind
            config = self._service.configs.change(row, body.config, replace=True)
        started = self._clock.monotonic()
        report = self._trial(notifier_id, kind, config, send=body.send)
        took = timedelta(seconds=self._clock.monotonic() - started)
        return self._service.configs.report(report, took)

    def _tried(
        self,
        notifier_id: str,
        changes: Mapping[str, object],
        *,
        replace: bool,
        if_match: int | None,
    ) -> int:
        """Try the configuration that a change makes; returns the version it was tried on."""
        with self._units.read() as uow:
            row = self._service.editable(uow, notifier_id, if_match)
        config = self._service.configs.change(row, changes, replace=replace)
        self._try(notifier_id, row.kind, config, test=False)
        return row.version

    def _try(self, notifier_id: str, kind: str, config: PluginConfig, *, test: bool) -> None:
        if test:
            started = self._clock.monotonic()
            report = self._trial(notifier_id, kind, config, send=False)
            took = timedelta(seconds=self._clock.monotonic() - started)
            if not report.ok:
                shown = self._service.configs.report(report, took)
                raise NotifierTestFailed(report=shown.model_dump(mode="json"))
            return
        try:
            self._service.parts.make(notifier_id, kind, config).retire()
        except PluginError as error:
            raise NotifierCannotStart(reason=error.detail, log=error.log) from error

    def _trial(
        self, notifier_id: str, kind: str, config: PluginConfig, *, send: bool
    ) -> CheckReport:
        running: RunningNotifier | None = None
        try:
            running = self._service.parts.make(notifier_id, kind, config)
            running.open()
            return running.test(send=send)
        except CertctlError as error:
            return _failed(error)
        finally:
            if running is not None:
                running.retire()

    def _start(self, view: NotifierView) -> NotifierView:
        """Start what was saved; one that cannot start is ``unavailable`` and says why."""
        try:
            self._service.instance(view.id)
        except NotifierDisabled:
            pass
        except CertctlError as error:
            _log.warning("notifier.start_failed", notifier_id=view.id, error=error.code)
        with self._units.read() as uow:
            return self._service.get(uow, view.id)


def _failed(error: CertctlError) -> CheckReport:
    detail = safe_text(error.detail)
    check = Check(name="configuration", ok=False, detail=detail, hint=error.hint)
    return CheckReport.of([check])
