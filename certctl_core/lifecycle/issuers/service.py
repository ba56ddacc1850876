"""Configured issuers: rows with sealed secrets, and the running instances made of them.

Methods that take ``uow`` work inside one transaction. ``instance``, ``submit`` and the questions
without ``uow`` are answered from memory and, at most, open a read of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
import structlog

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.issuers import Issued, IssueRequest, Pending
from certctl_core.contracts.options import (
    PluginConfig,
)
from certctl_core.kernel.db import ChangeFeed, Uow, paginate
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.operations import Page, Resource
from certctl_core.lifecycle.authorities import KIND as LOCAL_KIND
from certctl_core.lifecycle.authorities import LOCAL_ISSUER_ID
from certctl_core.lifecycle.issuers import _store
from certctl_core.lifecycle.issuers._store import COLLECTION, C, IssuerRow
from certctl_core.lifecycle.issuers._tables import issuers
from certctl_core.lifecycle.issuers.configs import issuer_configs
from certctl_core.lifecycle.issuers.errors import (
    IssuerChanged,
    IssuerDisabled,
    IssuerIdTaken,
    IssuerInUse,
    IssuerManagedElsewhere,
    IssuerNameTaken,
    IssuerNotFound,
)
from certctl_core.lifecycle.issuers.events import (
    IssuerCreated,
    IssuerDeleted,
    IssuerDisabledEvent,
    IssuerEnabled,
    IssuerTested,
    IssuerUpdated,
)
from certctl_core.lifecycle.issuers.facts import FactsCache, IssuerFacts
from certctl_core.lifecycle.issuers.instances import Parts, RunningIssuer, issuer_instances
from certctl_core.lifecycle.issuers.schemas import (
    CreateIssuer,
    IssuerBody,
    IssuerQuery,
    IssuerView,
    PatchIssuer,
    ReportView,
)
from certctl_core.lifecycle.issuers.types import (
    IssuerHealth,
    IssuerSource,
    IssuerState,
    TestStatus,
)
from certctl_core.lifecycle.issuers.watcher import Watcher

_log = structlog.get_logger("certctl.issuers")

SORTS = {"created_at": C.created_at, "updated_at": C.updated_at, "name": C.name}
_LOCAL_NAME = "Local CA"


class IssuerService:
    """Owns ``issuers`` and ``issuer_state``. Safe for threads.

    Args:
        parts: What instances are made of.
        feed: The change feed; the topic ``issuers`` makes memory look again.
    """

    def __init__(self, *, parts: Parts, feed: ChangeFeed | None = None) -> None:
        self._kinds = parts.kinds
        self.configs = issuer_configs(kinds=parts.kinds, keyring=parts.keyring)
        self._facts = FactsCache(units=parts.units, clock=parts.clock, kinds=parts.kinds)
        watcher = Watcher(units=parts.units, facts=self._facts, on_call=parts.on_call)
        self._instances = issuer_instances(parts, load=self.configs.load, watcher=watcher)
        self.parts = parts
        self._usage: dict[str, Callable[[Uow, str], int]] = {}
        if feed is not None:
            feed.subscribe("issuers", self.look_again)

    def add_usage_counter(self, name: str, count: Callable[[Uow, str], int]) -> None:
        """A higher room tells how many of its objects use an issuer; deletion asks them all."""
        self._usage[name] = count

    def look_again(self) -> None:
        """Compare what is in memory with the database before its next use (topic ``issuers``)."""
        self._facts.look_again()
        self._instances.look_again()

    def close(self) -> None:
        """Close all instances (shutdown)."""
        self._instances.close()

    # -- questions of the choke point ---------------------------------------------------------

    def require_usable(self, uow: Uow, issuer_id: str) -> IssuerFacts:
        """The issuer, if it takes orders; from memory where it is known there.

        Raises:
            IssuerNotFound, IssuerDisabled: As their names say.
        """
        facts = self._facts.find(issuer_id)
        if facts is None:
            row = _store.find(uow, issuer_id)
            if row is None:
                raise IssuerNotFound(issuer_id=issuer_id)
            facts = self._facts.of(row)
        if not facts.enabled:
            raise IssuerDisabled(issuer_id=issuer_id)
        return facts

    def default_validity(self, issuer_id: str) -> timedelta:
        """The lifetime of an issuer's certificates where no profile says otherwise.

        Raises:
            IssuerNotFound: No such issuer.
        """
        return self._require_facts(issuer_id).default_validity

    def kind_of(self, issuer_id: str) -> str:
        """Of which kind an issuer is, from memory; empty when it is gone."""
        facts = self._facts.find(issuer_id)
        return "" if facts is None else facts.kind

    def is_local(self, issuer_id: str) -> bool:
        """Whether its CA keys are ours: ledger, CRL and OCSP exist for it."""
        return self._require_facts(issuer_id).kind == LOCAL_KIND

    def instance(self, issuer_id: str) -> RunningIssuer:
        """The running issuer behind its guard; disabled ones too, for polls and revocations.

        Raises:
            IssuerNotFound: No such issuer.
            CertctlError: It cannot be built; the row says why from then on.
        """
        return self._instances.get(issuer_id)

    def submit(self, issuer_id: str, request: IssueRequest) -> Issued | Pending:
        """Send one order; call it outside any unit of work, after the intent is recorded.

        Raises:
            IssuerNotFound, IssuerDisabled: As their names say.
            PluginError: As the guard types it.
        """
        if not self._require_facts(issuer_id).enabled:
            raise IssuerDisabled(issuer_id=issuer_id)
        return self._instances.get(issuer_id).submit(request)

    def _require_facts(self, issuer_id: str) -> IssuerFacts:
        facts = self._facts.find(issuer_id)
        if facts is None:
            raise IssuerNotFound(issuer_id=issuer_id)
        return facts

    # -- reading ------------------------------------------------------------------------------

    def get(self, uow: Uow, issuer_id: str) -> IssuerView:
        """One issuer, secrets not shown.

        Raises:
            IssuerNotFound: No such id.
        """
        return self.configs.view(self.row(uow, issuer_id))

    def row(self, uow: Uow, issuer_id: str) -> IssuerRow:
        """The stored row, for this room's workflow.

        Raises:
            IssuerNotFound: No such id.
        """
        row = _store.find(uow, issuer_id)
        if row is None:
            raise IssuerNotFound(issuer_id=issuer_id)
        return row

    def page(
        self, uow: Uow, query: IssuerQuery, *, scopes: list[Resource] | None = None
    ) -> Page[IssuerView]:
        """A page of issuers; ``scopes`` limits it to those that the actor may see."""
        statement = sa.select(issuers)
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
        if scopes is not None:
            ids = [scope.issuer_id for scope in scopes if scope.issuer_id]
            statement = statement.where(C.id.in_(ids))
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
        self, uow: Uow, body: CreateIssuer, *, source: IssuerSource = IssuerSource.DATABASE
    ) -> IssuerView:
        """Store a new issuer; emits ``issuer.created``.

        Raises:
            Invalid: The chosen id is not an id.
            UnknownIssuerKind, IssuerKindUnavailable, ConfigInvalid: The kind or its configuration.
            IssuerIdTaken, IssuerNameTaken: As their names say.
        """
        kind, config = self.configs.check(body.kind, body.config)
        issuer_id = parse_id(body.id) if body.id else self.make_id(uow, body.name)
        stored = self.configs.store(issuer_id, config, at=uow.now)
        row = IssuerRow(
            id=issuer_id,
            name=body.name,
            kind=kind,
            config=stored.plain,
            secrets=stored.sealed,
            secrets_set_at=stored.set_at,
            enabled=body.enabled,
            source=source,
            version=1,
            revision=1,
            state=IssuerState.READY if body.enabled else IssuerState.DISABLED,
            state_reason="",
            health=IssuerHealth.UNKNOWN,
            test_status=TestStatus.UNTESTED,
            last_tested_at=None,
            last_test_report=None,
            created_by=uow.actor.id,
            created_at=uow.now,
            updated_at=uow.now,
        )
        if not _store.insert(uow, row):
            if _store.find(uow, issuer_id) is not None:
                raise IssuerIdTaken(issuer_id=issuer_id)
            raise IssuerNameTaken(name=body.name)
        fields = tuple(sorted(name for name in body.config))
        uow.emit(IssuerCreated(resource_id=issuer_id, name=body.name, kind=kind, fields=fields))
        self._changed(uow)
        return self.configs.view(row)

    def make_id(self, uow: Uow, name: str) -> str:
        """An id from the name and a sortable unique part."""
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
        fresh = uow.new_id(Prefix.ISSUER)
        return fresh if not words else f"{Prefix.ISSUER}-{words}-{fresh[-6:]}"

    def seed_local(self, uow: Uow) -> IssuerView | None:
        """Create ``iss-local`` if there is no issuer at all (06 REG-7); None if there is."""
        if not _store.is_empty(uow):
            return None
        return self.create(uow, CreateIssuer(id=LOCAL_ISSUER_ID, name=_LOCAL_NAME, kind=LOCAL_KIND))

    def replace(
        self, uow: Uow, issuer_id: str, body: IssuerBody, *, if_match: int | None = None
    ) -> IssuerView:
        """Replace name, enabled and the plain configuration; omitted secrets are kept.

        Raises:
            As for ``patch``.
        """
        row = self.editable(uow, issuer_id, if_match)
        config = self.configs.change(row, body.config, replace=True)
        return self._save(uow, row, name=body.name, enabled=body.enabled, config=config)

    def patch(
        self, uow: Uow, issuer_id: str, body: PatchIssuer, *, if_match: int | None = None
    ) -> IssuerView:
        """Apply a merge patch; emits ``issuer.updated`` and ``issuer.enabled``/``disabled``.

        Raises:
            IssuerNotFound, IssuerManagedElsewhere, IssuerNameTaken: As their names say.
            IssuerChanged: ``if_match`` differs, or somebody else was first.
            ConfigInvalid: The result does not fit the kind.
            SecretNeedsReentry: A host field changed while a stored secret was kept.
        """
        row = self.editable(uow, issuer_id, if_match)
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

    def editable(self, uow: Uow, issuer_id: str, if_match: int | None) -> IssuerRow:
        """The stored row, if it may be changed here.

        Raises:
            IssuerNotFound, IssuerChanged, IssuerManagedElsewhere: As for ``patch``.
        """
        row = self.row(uow, issuer_id)
        if if_match is not None and row.version != if_match:
            raise IssuerChanged(issuer_id=issuer_id)
        if row.source is not IssuerSource.DATABASE:
            raise IssuerManagedElsewhere(issuer_id=issuer_id, source=row.source.value)
        return row

    def set_enabled(self, uow: Uow, issuer_id: str, *, enabled: bool) -> IssuerView:
        """Let an issuer take orders, or not; polls and revocations go on either way.

        Raises:
            IssuerNotFound, IssuerManagedElsewhere, IssuerChanged: As for ``patch``.
        """
        row = self.editable(uow, issuer_id, None)
        return self._save(uow, row, name=row.name, enabled=enabled, config=None)

    def delete(self, uow: Uow, issuer_id: str, *, if_match: int | None = None) -> None:
        """Delete an issuer that nothing uses; emits ``issuer.deleted``.

        Raises:
            IssuerNotFound, IssuerManagedElsewhere, IssuerChanged: As for ``patch``.
            IssuerInUse: ``counts`` says by what.
        """
        row = self.editable(uow, issuer_id, if_match)
        counts = {name: count(uow, issuer_id) for name, count in self._usage.items()}
        if any(counts.values()):
            raise IssuerInUse(issuer_id=issuer_id, counts=counts)
        if not _store.delete(uow, row):
            raise IssuerChanged(issuer_id=issuer_id)
        uow.emit(IssuerDeleted(resource_id=issuer_id, name=row.name, kind=row.kind))
        uow.after_commit(lambda: self._instances.drop(issuer_id))
        self._changed(uow)

    def record_test(
        self, uow: Uow, issuer_id: str, report: CheckReport, took: timedelta
    ) -> ReportView:
        """Store the outcome of a test; emits ``issuer.tested``.

        Raises:
            IssuerNotFound: It was deleted meanwhile.
        """
        row = self.row(uow, issuer_id)
        view = self.configs.report(report, took)
        _store.note(
            uow,
            issuer_id,
            test_status=TestStatus.SUCCESS if report.ok else TestStatus.FAILED,
            last_tested_at=uow.now,
            last_test_report=view.model_dump(mode="json"),
            health=IssuerHealth.HEALTHY if report.ok else IssuerHealth.FAILING,
        )
        failed = tuple(check.name for check in report.checks if not check.ok)
        uow.emit(
            IssuerTested(
                resource_id=issuer_id, name=row.name, kind=row.kind, ok=report.ok, failed=failed
            )
        )
        self._changed(uow)
        return view

    def _save(
        self, uow: Uow, row: IssuerRow, *, name: str, enabled: bool, config: PluginConfig | None
    ) -> IssuerView:
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
                    "test_status": TestStatus.UNTESTED,
                    "health": IssuerHealth.UNKNOWN,
                }
        if name != row.name:
            if _store.is_name_taken(uow, name, but=row.id):
                raise IssuerNameTaken(name=name)
            values["name"] = name
            changed.add("name")
        if values or enabled != row.enabled:
            rebuilt = "config" in values or enabled != row.enabled
            if rebuilt:
                state = IssuerState.READY if enabled else IssuerState.DISABLED
                values |= {"revision": row.revision + 1, "state": state, "state_reason": ""}
            if not _store.update(uow, row, enabled=enabled, **values):
                raise IssuerChanged(issuer_id=row.id)
            self._tell(uow, row, name=name, enabled=enabled, changed=changed)
            self._changed(uow)
        return self.get(uow, row.id)

    def _tell(
        self, uow: Uow, row: IssuerRow, *, name: str, enabled: bool, changed: set[str]
    ) -> None:
        if changed:
            uow.emit(
                IssuerUpdated(
                    resource_id=row.id, name=name, kind=row.kind, fields=tuple(sorted(changed))
                )
            )
        if enabled and not row.enabled:
            uow.emit(IssuerEnabled(resource_id=row.id, name=name, kind=row.kind))
        if row.enabled and not enabled:
            uow.emit(IssuerDisabledEvent(resource_id=row.id, name=name, kind=row.kind))

    def _changed(self, uow: Uow) -> None:
        uow.touch(COLLECTION)
        uow.wake("issuers")
