"""Configured notifiers: rows with sealed secrets, and the running instances made of them.

Methods that take ``uow`` work inside one transaction; ``instance`` is answered from memory or opens
a read of its own.
"""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.options import PluginConfig
from certctl_core.insight.notifications import _store
from certctl_core.insight.notifications._store import C, NotifierRow
from certctl_core.insight.notifications._tables import notifiers
from certctl_core.insight.notifications.aggregate import refresh
from certctl_core.insight.notifications.configs import notifier_configs
from certctl_core.insight.notifications.errors import (
    NotifierChanged,
    NotifierIdTaken,
    NotifierInUse,
    NotifierManagedElsewhere,
    NotifierNameTaken,
    NotifierNotFound,
)
from certctl_core.insight.notifications.events import (
    NotifierCreated,
    NotifierDeleted,
    NotifierDisabledEvent,
    NotifierEnabled,
    NotifierGone,
    NotifierTested,
    NotifierUpdated,
)
from certctl_core.insight.notifications.instances import (
    NotifierParts,
    RunningNotifier,
    admit_enabled,
    notifier_instances,
)
from certctl_core.insight.notifications.schemas import (
    CreateNotifier,
    NotifierBody,
    NotifierQuery,
    NotifierReportView,
    NotifierView,
    PatchNotifier,
)
from certctl_core.insight.notifications.types import (
    NotifierHealth,
    NotifierSource,
    NotifierState,
    NotifierTestStatus,
)
from certctl_core.insight.notifications.watcher import Watcher
from certctl_core.kernel.db import ChangeFeed, Uow, paginate
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.operations import Page

COLLECTION = "notifiers"
SORTS = {"created_at": C.created_at, "updated_at": C.updated_at, "name": C.name}


class NotifierService:
    """Owns ``notifiers`` and ``notifier_state``. Safe for threads.

    Args:
        parts: What instances are made of.
        feed: The change feed; the topic ``routes`` makes memory look again.
    """

    def __init__(self, *, parts: NotifierParts, feed: ChangeFeed | None = None) -> None:
        self._kinds = parts.kinds
        self.configs = notifier_configs(kinds=parts.kinds, keyring=parts.keyring)
        watcher = Watcher(units=parts.units, known=self._recorded_health)
        self._instances = notifier_instances(parts, load=self.configs.load, watcher=watcher)
        self.parts = parts
        if feed is not None:
            feed.subscribe("routes", self.look_again)

    def look_again(self) -> None:
        """Compare what is in memory with the database before its next use (topic ``routes``)."""
        self._instances.look_again()

    def close(self) -> None:
        """Close all instances (shutdown)."""
        self._instances.close()

    def instance(self, notifier_id: str, *, even_disabled: bool = False) -> RunningNotifier:
        """The running notifier behind its guard; call it outside any unit of work.

        Raises:
            NotifierNotFound: No such notifier.
            NotifierDisabled: It is switched off, unless ``even_disabled``.
            CertctlError: It cannot be built; the row says why from then on.
        """
        return self._instances.get(notifier_id, admit=None if even_disabled else admit_enabled)

    def _recorded_health(self, notifier_id: str) -> NotifierHealth | None:
        row = self._instances.row(notifier_id)
        return None if row is None else row.health

    # -- reading ------------------------------------------------------------------------------

    def get(self, uow: Uow, notifier_id: str) -> NotifierView:
        """One notifier, secrets not shown.

        Raises:
            NotifierNotFound: No such id.
        """
        return self.configs.view(self.row(uow, notifier_id))

    def row(self, uow: Uow, notifier_id: str) -> NotifierRow:
        """The stored row, for this room's workflow.

        Raises:
            NotifierNotFound: No such id.
        """
        row = _store.find(uow, notifier_id)
        if row is None:
            raise NotifierNotFound(notifier_id=notifier_id)
        return row

    def page(self, uow: Uow, query: NotifierQuery) -> Page[NotifierView]:
        """A page of notifiers."""
        statement = sa.select(notifiers)
        if query.kind is not None:
            try:
                kind = self._kinds.canonical(query.kind)
            except CertctlError:
                kind = query.kind
            statement = statement.where(C.kind == kind)
        if query.enabled is not None:
            statement = statement.where(C.enabled == query.enabled)
        if query.health is not None:
            statement = statement.where(C.health == query.health)
        if query.q:
            match = C.name.icontains(query.q, autoescape=True)
            statement = statement.where(match | C.id.icontains(query.q, autoescape=True))
        return paginate(
            uow,
            statement,
            query=query,
            sorts=SORTS,
            id_column=C.id,
            view=lambda row: self.configs.view(_store.from_row(row)),
        )

    # -- changing -----------------------------------------------------------------------------

    def create(
        self, uow: Uow, body: CreateNotifier, *, source: NotifierSource = NotifierSource.DATABASE
    ) -> NotifierView:
        """Store a new notifier; emits ``notifier.created``.

        Raises:
            Invalid: The chosen id is not an id.
            UnknownNotifierKind, NotifierKindUnavailable, ConfigInvalid: Kind or configuration.
            NotifierIdTaken, NotifierNameTaken: As their names say.
        """
        kind, config = self.configs.check(body.kind, body.config)
        notifier_id = parse_id(body.id) if body.id else self.make_id(uow, body.name)
        stored = self.configs.store(notifier_id, config, at=uow.now)
        row = NotifierRow(
            id=notifier_id,
            name=body.name,
            kind=kind,
            config=stored.plain,
            secrets=stored.sealed,
            secrets_set_at=stored.set_at,
            enabled=body.enabled,
            source=source,
            version=1,
            revision=1,
            state=NotifierState.READY if body.enabled else NotifierState.DISABLED,
            state_reason="",
            health=NotifierHealth.UNKNOWN,
            test_status=NotifierTestStatus.UNTESTED,
            last_tested_at=None,
            last_test_report=None,
            created_by=uow.actor.id,
            created_at=uow.now,
            updated_at=uow.now,
        )
        if not _store.insert(uow, row):
            if _store.find(uow, notifier_id) is not None:
                raise NotifierIdTaken(notifier_id=notifier_id)
            raise NotifierNameTaken(name=body.name)
        fields = tuple(sorted(body.config))
        uow.emit(NotifierCreated(resource_id=notifier_id, name=body.name, kind=kind, fields=fields))
        self._changed(uow)
        return self.configs.view(row)

    def make_id(self, uow: Uow, name: str) -> str:
        """An id from the name and a sortable unique part."""
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
        fresh = uow.new_id(Prefix.NOTIFIER)
        return fresh if not words else f"{Prefix.NOTIFIER}-{words}-{fresh[-6:]}"

    def replace(
        self, uow: Uow, notifier_id: str, body: NotifierBody, *, if_match: int | None = None
    ) -> NotifierView:
        """Replace name, enabled and the plain configuration; omitted secrets are kept.

        Raises:
            As for ``patch``.
        """
        row = self.editable(uow, notifier_id, if_match)
        config = self.configs.change(row, body.config, replace=True)
        return self._save(uow, row, name=body.name, enabled=body.enabled, config=config)

    def patch(
        self, uow: Uow, notifier_id: str, body: PatchNotifier, *, if_match: int | None = None
    ) -> NotifierView:
        """Apply a merge patch; emits ``notifier.updated`` and ``notifier.enabled``/``disabled``.

        Raises:
            NotifierNotFound, NotifierManagedElsewhere, NotifierNameTaken: As their names say.
            NotifierChanged: ``if_match`` differs, or somebody else was first.
            ConfigInvalid: The result does not fit the kind.
            SecretNeedsReentry: A host field changed while a stored secret was kept.
        """
        row = self.editable(uow, notifier_id, if_match)
        config = None
        if body.config is not None:
            config = self.configs.change(row, body.config, replace=False)
        return self._save(
            uow,
            row,
            name=row.name if body.name is None else body.name,
            enabled=row.enabled if body.enabled is None else body.enabled,
            config=config,
        )

    def editable(self, uow: Uow, notifier_id: str, if_match: int | None) -> NotifierRow:
        """The stored row, if it may be changed here.

        Raises:
            NotifierNotFound, NotifierChanged, NotifierManagedElsewhere: As for ``patch``.
        """
        row = self.row(uow, notifier_id)
        if if_match is not None and row.version != if_match:
            raise NotifierChanged(notifier_id=notifier_id)
        if row.source is not NotifierSource.DATABASE:
            raise NotifierManagedElsewhere(notifier_id=notifier_id, source=row.source.value)
        return row

    def delete(
        self, uow: Uow, notifier_id: str, *, force: bool = False, if_match: int | None = None
    ) -> None:
        """Delete a notifier that no route names; emits ``notifier.deleted``.

        Args:
            uow: The open unit of work.
            notifier_id: Which one.
            force: Cancel the deliveries that wait for it instead of refusing.
            if_match: The version that the caller has seen.

        Raises:
            NotifierNotFound, NotifierManagedElsewhere, NotifierChanged: As for ``patch``.
            NotifierInUse: ``counts`` says by what.
        """
        row = self.editable(uow, notifier_id, if_match)
        counts = {
            "routes": _store.routes_naming(uow, notifier_id),
            "deliveries": 0 if force else _store.open_deliveries(uow, notifier_id),
        }
        if any(counts.values()):
            raise NotifierInUse(notifier_id=notifier_id, counts=counts)
        cancelled = _store.cancel_deliveries(uow, notifier_id) if force else []
        if not _store.delete(uow, row):
            raise NotifierChanged(notifier_id=notifier_id)
        refresh(uow, cancelled)
        uow.emit(
            NotifierDeleted(
                resource_id=notifier_id, name=row.name, kind=row.kind, cancelled=len(cancelled)
            )
        )
        uow.after_commit(lambda: self._instances.drop(notifier_id))
        self._changed(uow)

    def switch_off(self, uow: Uow, notifier_id: str, *, reason: str) -> None:
        """Disable a notifier whose receiver wants no more calls (410); emits ``notifier.gone``."""
        row = _store.find(uow, notifier_id)
        if row is None or not row.enabled:
            return
        _store.note(
            uow,
            notifier_id,
            enabled=False,
            revision=row.revision + 1,
            state=NotifierState.DISABLED,
            state_reason=reason,
        )
        uow.emit(NotifierGone(resource_id=notifier_id, name=row.name, kind=row.kind))
        self._changed(uow)

    def record_test(
        self, uow: Uow, notifier_id: str, report: CheckReport, took: timedelta, *, sent: bool
    ) -> NotifierReportView:
        """Store the outcome of a test; emits ``notifier.tested``.

        Raises:
            NotifierNotFound: It was deleted meanwhile.
        """
        row = self.row(uow, notifier_id)
        view = self.configs.report(report, took)
        _store.note(
            uow,
            notifier_id,
            test_status=NotifierTestStatus.SUCCESS if report.ok else NotifierTestStatus.FAILED,
            last_tested_at=uow.now,
            last_test_report=view.model_dump(mode="json"),
            health=NotifierHealth.HEALTHY if report.ok else NotifierHealth.FAILING,
        )
        failed = tuple(check.name for check in report.checks if not check.ok)
        uow.emit(
            NotifierTested(
                resource_id=notifier_id,
                name=row.name,
                kind=row.kind,
                ok=report.ok,
                sent=sent,
                failed=failed,
            )
        )
        self._changed(uow)
        return view

    def _save(
        self, uow: Uow, row: NotifierRow, *, name: str, enabled: bool, config: PluginConfig | None
    ) -> NotifierView:
        changed: set[str] = set()
        values: dict[str, object] = {}
        if config is not None:
            stored = self.configs.store(row.id, config, at=uow.now, before=row)
            changed = stored.changed
            if changed:
                values |= {
                    "config": stored.plain,
                    "secrets": stored.sealed,
                    "secrets_set_at": stored.set_at,
                    "test_status": NotifierTestStatus.UNTESTED,
                    "health": NotifierHealth.UNKNOWN,
                }
        if name != row.name:
            if _store.is_name_taken(uow, name, but=row.id):
                raise NotifierNameTaken(name=name)
            values["name"] = name
            changed.add("name")
        if values or enabled != row.enabled:
            if "config" in values or enabled != row.enabled:
                state = NotifierState.READY if enabled else NotifierState.DISABLED
                values |= {"revision": row.revision + 1, "state": state, "state_reason": ""}
            if not _store.update(uow, row, enabled=enabled, **values):
                raise NotifierChanged(notifier_id=row.id)
            self._tell(uow, row, name=name, enabled=enabled, changed=changed)
            self._changed(uow)
        return self.get(uow, row.id)

    def _tell(
        self, uow: Uow, row: NotifierRow, *, name: str, enabled: bool, changed: set[str]
    ) -> None:
        about = {"resource_id": row.id, "name": name, "kind": row.kind}
        if changed:
            uow.emit(NotifierUpdated(**about, fields=tuple(sorted(changed))))
        if enabled and not row.enabled:
            uow.emit(NotifierEnabled(**about))
        if row.enabled and not enabled:
            uow.emit(NotifierDisabledEvent(**about))

    def _changed(self, uow: Uow) -> None:
        uow.touch(COLLECTION)
        uow.wake("routes")
