"""Targets: where certificates go, and which certificate goes where."""

from __future__ import annotations

from collections.abc import Callable

from certctl_core.fleet.agents import AgentService
from certctl_core.fleet.targets import _store
from certctl_core.fleet.targets._store import TargetRow
from certctl_core.fleet.targets._tables import certificate_targets as links
from certctl_core.fleet.targets._tables import targets
from certctl_core.fleet.targets.configs import TargetConfigs
from certctl_core.fleet.targets.errors import (
    SingleHolder,
    TargetInUse,
    TargetNameTaken,
    TargetNotFound,
    TargetNotLinked,
    TargetUnusable,
)
from certctl_core.fleet.targets.events import (
    TargetCreated,
    TargetDeleted,
    TargetLinked,
    TargetRetired,
    TargetTested,
    TargetUnlinked,
    TargetUpdated,
)
from certctl_core.fleet.targets.schemas import (
    CreateTarget,
    LinkedTargetView,
    LinkQuery,
    LinkTarget,
    PatchTarget,
    TargetBody,
    TargetKindsView,
    TargetQuery,
    TargetView,
    TestReport,
    TestStarted,
)
from certctl_core.fleet.targets.types import TargetRef, TargetWork, TestStatus
from certctl_core.kernel.db import Uow, paginate
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.jobs import JobService, NewJob
from certctl_core.kernel.operations import Page
from certctl_core.lifecycle.certificates import (
    CertificateService,
    CertificateView,
    KeyScope,
    Status,
    WrongState,
)

SORTS = tuple(_store.SORTS)
LinkHook = Callable[[Uow, str, TargetRef], None]
_ENDED = (Status.REVOKED, Status.ARCHIVED)


class TargetService:
    """The use cases of targets, each inside one unit of work.

    Args:
        configs: Checks, seals and opens configurations.
        agents: Who drives targets; retiring one retires its targets.
        certificates: What is deployed.
        jobs: Tests run as jobs on the agent.
    """

    def __init__(
        self,
        *,
        configs: TargetConfigs,
        agents: AgentService,
        certificates: CertificateService,
        jobs: JobService,
    ) -> None:
        self.configs = configs
        self._agents = agents
        self._certificates = certificates
        self._jobs = jobs
        self._on_linked: list[LinkHook] = []
        agents.add_dependents(_store.counts, self._retire)

    def on_linked(self, action: LinkHook) -> None:
        """A higher room acts when a certificate gets a target (first issuance, deployment)."""
        self._on_linked.append(action)

    # -- targets ------------------------------------------------------------------------------

    def get(self, uow: Uow, target_id: str) -> TargetView:
        """One target, a retired one too; secrets not shown.

        Raises:
            TargetNotFound: No such id.
        """
        return self.configs.view(self._row(uow, target_id))

    def page(self, uow: Uow, query: TargetQuery) -> Page[TargetView]:
        """A page of targets; retired ones only when asked for."""
        return paginate(
            uow,
            _store.selection(query),
            query=query,
            sorts=_store.SORTS,
            id_column=targets.c.id,
            view=lambda row: self.configs.view(_store.from_row(row)),
        )

    def kinds(self) -> TargetKindsView:
        """The installed kinds with their schemas."""
        return TargetKindsView(data=self.configs.kinds())

    def create(self, uow: Uow, body: CreateTarget) -> TargetView:
        """Store a target; emits ``target.created``.

        Raises:
            Invalid: The chosen id is not an id.
            UnknownTargetKind, ConfigInvalid, AgentUnusable: The body does not do.
            TargetNameTaken: The agent has one of this name, or the id exists.
        """
        agent = self._agents.require_active(uow, body.agent_id)
        kind, config = self.configs.check(body.kind, body.config)
        target_id = parse_id(body.id) if body.id else uow.new_id(Prefix.TARGET)
        stored = self.configs.store(target_id, config, at=uow.now)
        row = uow.first(
            uow.insert(targets)
            .values(
                id=target_id,
                name=body.name,
                kind=kind,
                agent_id=agent.id,
                config=stored.plain,
                secrets=stored.sealed,
                secrets_set_at=stored.set_at,
                enabled=body.enabled,
                test_status=TestStatus.UNTESTED,
                version=1,
                created_at=uow.now,
                updated_at=uow.now,
            )
            .on_conflict_do_nothing()
            .returning(*targets.c)
        )
        if row is None:
            raise TargetNameTaken
        uow.emit(TargetCreated(resource_id=target_id, name=body.name, kind=kind, agent_id=agent.id))
        uow.touch("targets")
        return self.configs.view(_store.from_row(row))

    def replace(
        self, uow: Uow, target_id: str, body: TargetBody, *, if_match: int | None = None
    ) -> TargetView:
        """Replace the mutable part; secrets that are left out are kept. Emits ``target.updated``.

        Raises:
            TargetNotFound, PreconditionFailed, ConfigInvalid, SecretNeedsReentry,
            TargetNameTaken: As named.
            TargetUnusable: It is retired.
        """
        patch = PatchTarget(name=body.name, config=body.config, enabled=body.enabled)
        return self._change(uow, target_id, patch, replace=True, if_match=if_match)

    def patch(
        self, uow: Uow, target_id: str, body: PatchTarget, *, if_match: int | None = None
    ) -> TargetView:
        """Change members; as ``replace``, but what is left out stays."""
        return self._change(uow, target_id, body, replace=False, if_match=if_match)

    def _change(
        self,
        uow: Uow,
        target_id: str,
        body: PatchTarget,
        *,
        replace: bool,
        if_match: int | None,
    ) -> TargetView:
        row = self._active(uow, target_id)
        if if_match is not None and row.version != if_match:
            raise PreconditionFailed
        changed: set[str] = set()
        values: dict[str, object] = {}
        if body.config is not None:
            config = self.configs.change(row, body.config, replace=replace)
            stored = self.configs.store(row.id, config, at=uow.now, before=row)
            changed |= stored.changed
            if stored.changed:
                values |= {
                    "config": stored.plain,
                    "secrets": stored.sealed,
                    "secrets_set_at": stored.set_at,
                    "test_status": TestStatus.UNTESTED,
                }
        if body.name is not None and body.name != row.name:
            if _store.name_taken(uow, row, body.name):
                raise TargetNameTaken
            values["name"] = body.name
            changed.add("name")
        if body.enabled is not None and body.enabled != row.enabled:
            values["enabled"] = body.enabled
            changed.add("enabled")
        if not values:
            return self.configs.view(row)
        after = _store.update(uow, row, **values)
        if after is None:
            raise PreconditionFailed
        uow.emit(
            TargetUpdated(
                resource_id=row.id, name=after.name, kind=row.kind, fields=tuple(sorted(changed))
            )
        )
        uow.touch("targets")
        return self.configs.view(after)

    def delete(
        self, uow: Uow, target_id: str, *, force: bool = False, if_match: int | None = None
    ) -> None:
        """Delete a target; its history stays. Emits ``target.deleted``.

        Raises:
            TargetNotFound, PreconditionFailed: As named.
            TargetInUse: Certificates are linked and ``force`` is off.
        """
        row = self._row(uow, target_id)
        if if_match is not None and row.version != if_match:
            raise PreconditionFailed
        linked = _store.link_count(uow, target_id)
        if linked and not force:
            raise TargetInUse(certificates=linked)
        self._jobs.cancel_open(uow, target_id=target_id, reason="the target was deleted")
        if not _store.delete(uow, row):
            raise PreconditionFailed
        uow.emit(TargetDeleted(resource_id=row.id, name=row.name, kind=row.kind, force=force))
        uow.touch("targets")

    def ref(self, uow: Uow, target_id: str) -> TargetRef:
        """The target as other rooms need it, if it is not retired.

        Raises:
            TargetNotFound, TargetUnusable: As named.
        """
        return _store.ref(self._active(uow, target_id))

    def work(self, uow: Uow, target_id: str) -> TargetWork:
        """The configuration for the owning agent, secrets in place (JOB-01).

        Raises:
            TargetNotFound, TargetSecretsUnreadable: As named.
        """
        return self.configs.work(self._row(uow, target_id))

    # -- tests --------------------------------------------------------------------------------

    def request_test(self, uow: Uow, target_id: str) -> TestStarted:
        """Have the agent look whether the target could be deployed to (TGT-03).

        Returns:
            The job; the one that is open already, if there is one.

        Raises:
            TargetNotFound, TargetUnusable: As named.
        """
        target = self.ref(uow, target_id)
        job, _ = self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type="Validation",
                subject_type="target",
                subject_id=target.id,
                payload={"mode": "test"},
                owner=target.agent_id,
                target_id=target.id,
                agent_id=target.agent_id,
            ),
        )
        return TestStarted(job_id=job.id)

    def record_test(self, uow: Uow, target_id: str, report: TestReport) -> None:
        """Store what the agent found; emits ``target.tested``.

        Raises:
            TargetNotFound: It was deleted meanwhile.
        """
        row = self._row(uow, target_id)
        _store.note_test(
            uow,
            target_id,
            test_status=TestStatus.SUCCESS if report.ok else TestStatus.FAILED,
            last_tested_at=uow.now,
            last_result=report.model_dump(mode="json"),
        )
        failed = tuple(check.name for check in report.checks if not check.ok)
        uow.emit(
            TargetTested(
                resource_id=row.id, name=row.name, kind=row.kind, ok=report.ok, failed=failed
            )
        )
        uow.touch("targets")

    # -- links --------------------------------------------------------------------------------

    def link(self, uow: Uow, certificate_id: str, target_id: str, body: LinkTarget) -> None:
        """Have a certificate deployed to a target from now on; emits ``target.linked`` when new.

        Raises:
            CertificateNotFound, TargetNotFound, TargetUnusable: As named.
            WrongState: The certificate is revoked or archived.
            SingleHolder: Another agent has the key, and only one may.
        """
        certificate = self._certificates.get(uow, certificate_id)
        if certificate.status in _ENDED:
            raise WrongState(certificate_status=certificate.status.value, wanted="deployed")
        target = self.ref(uow, target_id)
        if certificate.key_scope is KeyScope.SINGLE_HOLDER and any(
            other.agent_id != target.agent_id for other in _store.refs(uow, certificate_id)
        ):
            raise SingleHolder(certificate_id=certificate_id)
        if not _store.link(uow, certificate_id, target_id, auto_deploy=body.auto_deploy):
            uow.touch("targets")
            return
        uow.emit(
            TargetLinked(
                resource_id=target.id,
                name=target.name,
                kind=target.kind,
                certificate_id=certificate_id,
            )
        )
        for action in self._on_linked:
            action(uow, certificate_id, target)
        uow.touch("targets")

    def unlink(self, uow: Uow, certificate_id: str, target_id: str) -> None:
        """Stop deploying a certificate to a target; its files stay. Emits ``target.unlinked``.

        Raises:
            CertificateNotFound, TargetNotFound, TargetNotLinked: As named.
        """
        self._certificates.get(uow, certificate_id)
        row = self._row(uow, target_id)
        if not _store.unlink(uow, certificate_id, target_id):
            raise TargetNotLinked(certificate_id=certificate_id, target_id=target_id)
        self._jobs.cancel_open(
            uow, certificate_id=certificate_id, target_id=target_id, reason="unlinked"
        )
        uow.emit(
            TargetUnlinked(
                resource_id=row.id, name=row.name, kind=row.kind, certificate_id=certificate_id
            )
        )
        uow.touch("targets")

    def linked_page(
        self, uow: Uow, certificate_id: str, query: LinkQuery
    ) -> Page[LinkedTargetView]:
        """A page of the targets of a certificate.

        Raises:
            CertificateNotFound: No such certificate.
        """
        self._certificates.get(uow, certificate_id)
        return paginate(
            uow,
            _store.linked(certificate_id),
            query=query,
            sorts={"linked_at": links.c.created_at, "name": targets.c.name},
            id_column=targets.c.id,
            view=_store.link_view,
            default="name",
        )

    def certificate_page(self, uow: Uow, target_id: str, query: LinkQuery) -> Page[CertificateView]:
        """A page of the certificates that are deployed to a target.

        Raises:
            TargetNotFound: No such id.
        """
        self._row(uow, target_id)
        return paginate(
            uow,
            _store.links_of(target_id),
            query=query,
            sorts={"linked_at": links.c.created_at},
            id_column=links.c.certificate_id,
            view=lambda row: self._certificates.get(uow, row.certificate_id),
            default="linked_at",
        )

    def linked(
        self, uow: Uow, certificate_id: str, *, agent_id: str | None = None
    ) -> list[TargetRef]:
        """The targets of a certificate that are not retired, of one agent if given."""
        return _store.refs(uow, certificate_id, agent_id=agent_id)

    def auto_deployed(self, uow: Uow, certificate_id: str, agent_id: str) -> list[TargetRef]:
        """The enabled targets of one agent that get each new version by themselves."""
        return _store.auto_deployed(uow, certificate_id, agent_id)

    def key_holders(self, uow: Uow, certificate_id: str) -> list[str]:
        """The agents that hold, or are to hold, the key of a certificate (KEY-02).

        Give it to ``RenewalService.set_key_holders``.
        """
        found = {ref.agent_id for ref in _store.refs(uow, certificate_id) if ref.enabled}
        return sorted(found)

    def certificates_of(self, uow: Uow, agent_id: str) -> list[str]:
        """The certificates that are linked to a target of the agent."""
        return _store.certificates_of(uow, agent_id)

    def is_linked_to_agent(self, uow: Uow, certificate_id: str, agent_id: str) -> bool:
        """Whether the agent may see the certificate (AGT-13)."""
        return _store.is_linked_to_agent(uow, certificate_id, agent_id)

    def _retire(self, uow: Uow, agent_id: str, reason: str) -> None:
        for target in _store.retire(uow, agent_id, reason):
            uow.emit(
                TargetRetired(
                    resource_id=target.id, name=target.name, kind=target.kind, reason=reason
                )
            )
        uow.touch("targets")

    def _row(self, uow: Uow, target_id: str) -> TargetRow:
        row = _store.find(uow, target_id)
        if row is None:
            raise TargetNotFound(target_id=target_id)
        return row

    def _active(self, uow: Uow, target_id: str) -> TargetRow:
        row = self._row(uow, target_id)
        if row.retired_at is not None:
            raise TargetUnusable(target_id=target_id)
        return row
