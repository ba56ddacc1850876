"""The rooms of an installation, wired: the only place that knows them all."""

from __future__ import annotations

import secrets
from functools import partial

import sqlalchemy as sa

from certctl_core.app import operations as app_operations
from certctl_core.app.audit_key import audit_keys
from certctl_core.app.publishing import Publishing, count_invalidated
from certctl_core.app.references import References
from certctl_core.app.scoping import connect_scopes
from certctl_core.app.signers import Signers
from certctl_core.contracts.host.contexts import product
from certctl_core.contracts.host.http import PluginHttp
from certctl_core.contracts.host.observers import EventObservers
from certctl_core.contracts.host.registry import Registry
from certctl_core.enrollment.trust_bundles import TrustBundles, TrustReloads
from certctl_core.enrollment.trust_bundles import operations as trust_bundle_operations
from certctl_core.fleet.agents import (
    KEY_PREFIX,
    AgentAuthenticator,
    AgentService,
    AgentWorkflow,
    EnrollmentTokens,
)
from certctl_core.fleet.agents import operations as agent_operations
from certctl_core.fleet.deployments import (
    DeploymentService,
    IdleAgents,
    WorkDesk,
    WorkWorkflow,
)
from certctl_core.fleet.deployments import operations as deployment_operations
from certctl_core.fleet.targets import TargetConfigs, TargetService
from certctl_core.fleet.targets import operations as target_operations
from certctl_core.insight.notifications import (
    NotificationService,
    NotifierParts,
    NotifierService,
    NotifierWorkflow,
    Outbox,
    RouteCache,
    RouteService,
)
from certctl_core.insight.notifications import handlers as notification_handlers
from certctl_core.insight.notifications import operations as notification_operations
from certctl_core.insight.reports import ReportService
from certctl_core.insight.reports import operations as report_operations
from certctl_core.kernel.audit import (
    AuditLog,
    PIIPolicy,
)
from certctl_core.kernel.audit import operations as audit_operations
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.config import CALint, Settings
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory, Uow, instance
from certctl_core.kernel.errors import CertctlError, NotFound
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.kernel.jobs import JobService
from certctl_core.kernel.jobs import operations as job_operations
from certctl_core.kernel.net import EgressPolicy
from certctl_core.kernel.operations import Operation
from certctl_core.kernel.scheduler import SchedulerService
from certctl_core.kernel.scheduler import operations as scheduler_operations
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    AuthoritySettings,
    FormerCA,
    GuardedSigner,
    Loader,
    LocalConfig,
    LocalIssuerPlugin,
    pkilint_errors,
)
from certctl_core.lifecycle.blocked_keys import BlockedKeyService, KeyLists
from certctl_core.lifecycle.blocked_keys import operations as blocked_key_operations
from certctl_core.lifecycle.bulk_revocation import BulkRevocation
from certctl_core.lifecycle.bulk_revocation import operations as bulk_revocation_operations
from certctl_core.lifecycle.certificates import CertificateBody, CertificateService
from certctl_core.lifecycle.certificates import operations as certificate_operations
from certctl_core.lifecycle.hierarchy import HierarchyService, HierarchyWorkflow
from certctl_core.lifecycle.hierarchy import operations as hierarchy_operations
from certctl_core.lifecycle.issuance import (
    IssuanceWorkflow,
    OrderService,
    ProfilePreviewer,
)
from certctl_core.lifecycle.issuance import operations as issuance_operations
from certctl_core.lifecycle.issuers import IssuerService, IssuerWorkflow, Parts
from certctl_core.lifecycle.issuers import operations as issuer_operations
from certctl_core.lifecycle.policies import (
    DEFAULT_POLICY_ID,
    RenewalPolicyService,
    RenewalPolicyUpdated,
)
from certctl_core.lifecycle.policies import operations as policy_operations
from certctl_core.lifecycle.profiles import ProfileService
from certctl_core.lifecycle.profiles import operations as profile_operations
from certctl_core.lifecycle.recovery import RecoveryService, RecoveryWorkflow
from certctl_core.lifecycle.recovery import operations as recovery_operations
from certctl_core.lifecycle.renewal import RenewalService, RenewalWorkflow
from certctl_core.lifecycle.renewal import operations as renewal_operations
from certctl_core.lifecycle.revocation import (
    ResponseCache,
    RevocationRestorer,
    RevocationService,
    record_ca_revocation,
)
from certctl_core.lifecycle.revocation import operations as revocation_operations
from certctl_core.people.access import AccessService
from certctl_core.people.access import operations as access_operations
from certctl_core.people.identity import (
    BootstrapService,
    KeyService,
    SessionRules,
    SessionService,
)
from certctl_core.people.identity import handlers as identity_handlers
from certctl_core.people.identity import operations as identity_operations


class Rooms:
    """Every room's service, by name. Built in the order of the floors, lowest first."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        units: UnitOfWorkFactory,
        bus: Bus[Uow],
        feed: ChangeFeed,
        keyring: Keyring,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._units = units
        self._bus = bus
        self._feed = feed
        self._keyring = keyring
        self._kernel()
        self._people()
        self._trust()
        self._plugins()
        self._audit()
        self._lifecycle()
        self._publishing()
        self._fleet()
        self._insight()
        self._subscribe()

    # -- floors -------------------------------------------------------------------------------

    def _kernel(self) -> None:
        jobs = self.settings.jobs
        self.jobs = JobService(csr_timeout=jobs.awaiting_csr_timeout)
        self.scheduler = SchedulerService()

    def _audit(self) -> None:
        origin = str(self.settings.audit.log_origin or f"certctl/{self._instance_id()}")
        keys = audit_keys(self.signers, self._keyring, settings=self.settings, origin=origin)
        self.audit_keys = keys
        self.signers.audit_at = lambda: keys.kept_by
        signer = keys.open(self._units)
        self.audit = AuditLog(
            signer=signer,
            keys=keys,
            pii=PIIPolicy(self.settings.audit.pii),
            pii_key=self._keyring.subkey("audit-pii"),
        )
        self._bus.at_commit(self.audit.record)

    def _instance_id(self) -> str:
        statement = sa.select(instance.c.value).where(instance.c.name == "id")
        with self._units.read() as uow:
            found = uow.scalar(statement)
        if found is None:
            with self._units.begin() as uow:
                made = {"name": "id", "value": secrets.token_hex(8)}
                uow.execute(uow.insert(instance).values(made).on_conflict_do_nothing())
                found = uow.scalar(statement)
        return str(found)

    def _people(self) -> None:
        settings = self.settings
        self.access = AccessService(clock=self._clock)
        self.keys = KeyService(units=self._units, access=self.access)
        self.sessions = SessionService(
            units=self._units,
            keyring=self._keyring,
            api_keys=self.keys,
            rules=SessionRules(
                idle=settings.sessions.idle_timeout,
                absolute=settings.sessions.absolute_timeout,
                key_retention=settings.sessions.signing_key_retention,
                key_rotation=settings.sessions.signing_key_rotation,
                bind_ip=settings.sessions.bind_ip,
                bind_user_agent=settings.sessions.bind_user_agent,
            ),
        )
        identity_handlers.register(self._bus, self.sessions)
        self.bootstrap = BootstrapService(
            units=self._units,
            keys=self.keys,
            access=self.access,
            token=settings.auth.bootstrap_token,
        )

    def _trust(self) -> None:
        self.trust_bundles = TrustBundles(units=self._units, clock=self._clock, feed=self._feed)
        self.trust_reloads = TrustReloads(units=self._units, bundles=self.trust_bundles)
        outbound = self.settings.outbound.ca_bundle
        if outbound is not None:
            use = "outgoing connections, beside the system's roots"
            self.trust_bundles.register("outbound", outbound, use=use)

    def _plugins(self) -> None:
        settings = self.settings
        self.signers = Signers(
            registry=lambda: self.plugins,
            settings=settings,
            clock=self._clock,
            http=self._http,
        )
        self.authorities = AuthorityService(
            units=self._units,
            clock=self._clock,
            loader=Loader(
                settings=AuthoritySettings(
                    ca_cert_path=settings.ca.cert_path,
                    ca_key_path=settings.ca.key_path,
                    ca_key_passphrase=settings.ca.key_passphrase,
                    ca_previous=tuple(
                        FormerCA(cert_path=item.cert_path, key_ref=item.key_ref)
                        for item in settings.ca.previous
                    ),
                    public_base=_public_base(settings),
                    ocsp_direct_signing=settings.ocsp.direct_signing,
                    signer=settings.signers.ca,
                    crl_partitions=settings.crl.partitions,
                ),
                clock=self._clock,
                signer=self.signers.get,
                file_signer=self.signers.files_below,
            ),
            feed=self._feed,
        )
        linters = (pkilint_errors,) if settings.ca.lint is CALint.PKILINT else ()
        self.plugins = Registry.load(
            builtins=[("local", LocalIssuerPlugin(self.authorities, linters))],
            disabled=settings.plugins.disabled,
        )

    def _lifecycle(self) -> None:
        settings = self.settings
        self.profiles = ProfileService()
        self.blocked_keys = BlockedKeyService()
        self.key_lists = KeyLists()
        self.policies = RenewalPolicyService()
        self.issuers = IssuerService(
            parts=Parts(
                kinds=self.plugins.issuers,
                units=self._units,
                clock=self._clock,
                keyring=self._keyring,
                http=self._http,
                lookup=References(settings.data_dir),
                public_url=str(settings.server.public_url or ""),
            ),
            feed=self._feed,
        )
        self.issuer_workflow = IssuerWorkflow(
            service=self.issuers, units=self._units, require=self.access.require
        )
        self.authorities.use_configs(self._local_config)
        self.hierarchy = HierarchyService(
            authorities=self.authorities,
            issuers=self.issuers,
            record_revocation=record_ca_revocation,
        )
        self.hierarchy_workflow = HierarchyWorkflow(
            service=self.hierarchy, authorities=self.authorities, units=self._units
        )
        self.issuers.add_usage_counter("intermediate_cas", self.hierarchy.count_of_issuer)
        self.certificates = CertificateService(policies=self.policies, profiles=self.profiles)
        self.issuers.add_usage_counter("certificates", self.certificates.count_of_issuer)
        self.orders = OrderService()
        self.issuance = IssuanceWorkflow(
            units=self._units,
            certificates=self.certificates,
            profiles=self.profiles,
            policies=self.policies,
            issuers=self.issuers,
            authorities=self.authorities,
            blocked_keys=self.blocked_keys,
            key_lists=self.key_lists,
        )
        ocsp = self.settings.ocsp
        self.responses = ResponseCache(
            units=self._units, margin=min(ocsp.http_max_age, ocsp.response_validity / 2)
        )
        self.revocation = RevocationService(
            certificates=self.certificates,
            profiles=self.profiles,
            issuers=self.issuers,
            jobs=self.jobs,
            responses=self.responses,
            blocked_keys=self.blocked_keys,
        )
        self.revocation.on_invalidated = count_invalidated
        self.bulk_revocation = BulkRevocation(
            units=self._units, revocation=self.revocation, jobs=self.jobs
        )
        self.renewal = RenewalService(
            certificates=self.certificates, policies=self.policies, jobs=self.jobs
        )
        self.renewal_workflow = RenewalWorkflow(
            units=self._units, service=self.renewal, issuance=self.issuance
        )

        self.recovery = RecoveryService(
            authorities=self.authorities,
            certificates=self.certificates,
            restorer=RevocationRestorer(certificates=self.certificates),
        )
        self.recovery_workflow = RecoveryWorkflow(
            units=self._units,
            authorities=self.authorities,
            issuers=self.issuers,
            service=self.recovery,
        )

    def _publishing(self) -> None:
        made = Publishing(
            settings=self.settings,
            clock=self._clock,
            units=self._units,
            feed=self._feed,
            keyring=self._keyring,
            authorities=self.authorities,
            certificates=self.certificates,
            responses=self.responses,
            signer=self._guarded,
            living=self._living_servers,
            is_published=self._is_published,
        )
        self.crls = made.crls
        self.responders = made.responders
        self.key_places = made.key_places
        self.ocsp = made.ocsp
        self.presigner = made.presigner
        self.publishing = made.publishing
        self.crl_checker = made.crl_checker
        self.ocsp_admin = made.ocsp_admin
        self.pki = made.pki

    def _fleet(self) -> None:
        settings, lease = self.settings, self.settings.jobs.lease
        self.agents = AgentService(
            access=self.access,
            jobs=self.jobs,
            tokens=EnrollmentTokens(
                bootstrap_tokens=(
                    settings.agents.bootstrap_token,
                    settings.agents.bootstrap_token_previous,
                )
            ),
            clock=self._clock,
            offline_after=settings.agents.offline_after,
        )
        authenticator = AgentAuthenticator(units=self._units, feed=self._feed)
        self.keys.register_authenticator(KEY_PREFIX, authenticator.authenticate)
        self.agent_workflow = AgentWorkflow(
            units=self._units,
            service=self.agents,
            access=self.access,
            jobs=self.jobs,
            lease=lease,
        )
        self.targets = TargetService(
            configs=TargetConfigs(kinds=self.plugins.targets, keyring=self._keyring),
            agents=self.agents,
            certificates=self.certificates,
            jobs=self.jobs,
        )
        self.deployments = DeploymentService(
            jobs=self.jobs,
            agents=self.agents,
            targets=self.targets,
            certificates=self.certificates,
            renewal=self.renewal,
            issuance=self.issuance,
            lease=lease,
        )
        self.agent_work = WorkWorkflow(
            units=self._units,
            agents=self.agent_workflow,
            service=self.deployments,
            desk=WorkDesk(
                jobs=self.jobs,
                targets=self.targets,
                certificates=self.certificates,
                profiles=self.profiles,
                lease=lease,
            ),
            idle=IdleAgents(clock=self._clock, feed=self._feed),
            jobs=self.jobs,
            targets=self.targets,
            certificates=self.certificates,
            issuance=self.issuance,
            lease=lease,
            poll_seconds=self.agents.poll_seconds,
        )

    def _insight(self) -> None:
        self.notifications = NotificationService()
        self.notifiers = NotifierService(
            parts=NotifierParts(
                kinds=self.plugins.notifiers,
                units=self._units,
                clock=self._clock,
                keyring=self._keyring,
                http=self._http,
                lookup=References(self.settings.data_dir),
                public_url=str(self.settings.server.public_url or ""),
            ),
            feed=self._feed,
        )
        self.notifier_workflow = NotifierWorkflow(service=self.notifiers, units=self._units)
        self.routes = RouteService()
        self.outbox = Outbox(
            routes=RouteCache(clock=self._clock, feed=self._feed),
            certificates=self.certificates,
            issuers=self.issuers,
            origin=self.audit.origin,
        )
        notification_handlers.register(self._bus, self.outbox)
        self.reports = ReportService(
            jobs=lambda uow: uow.counters("jobs.status."),
            agents=self.agents.stats,
        )
        self.observers = EventObservers(self.plugins.event_observers, clock=self._clock)

    def _subscribe(self) -> None:
        for topic, forget in (
            ("access", self.access.drop_cache),
            ("keys", self.keys.drop_cache),
            ("sessions", self.sessions.drop_cache),
            ("profiles", self.profiles.drop_cache),
            ("policies", self.policies.drop_cache),
            ("blocked_keys", self.blocked_keys.drop_cache),
            ("blocked_keys", self.key_lists.drop_cache),
        ):
            self._feed.subscribe(topic, forget)
        self._bus.on_emit(self._policy_changed, RenewalPolicyUpdated)
        connect_scopes(self._bus, self.access, profiles=self.profiles, issuers=self.issuers)
        if self.plugins.event_observers:
            self._bus.after_commit(self.observers)

    # -- operations ---------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """Every operation that the rooms offer."""
        return [
            *app_operations.operations(plugins=self.plugins, signers=self.signers),
            *access_operations.operations(self.access),
            *identity_operations.operations(
                keys=self.keys,
                sessions=self.sessions,
                bootstrap=self.bootstrap,
                access=self.access,
            ),
            *audit_operations.operations(self.audit, self._units),
            *job_operations.operations(self.jobs),
            *scheduler_operations.operations(self.scheduler),
            *trust_bundle_operations.operations(
                service=self.trust_bundles, workflow=self.trust_reloads
            ),
            *profile_operations.operations(self.profiles),
            *blocked_key_operations.operations(self.blocked_keys, self.key_lists),
            *policy_operations.operations(self.policies),
            *issuer_operations.operations(
                service=self.issuers,
                workflow=self.issuer_workflow,
                authorities=self.authorities,
            ),
            *hierarchy_operations.operations(
                service=self.hierarchy, workflow=self.hierarchy_workflow
            ),
            *certificate_operations.operations(
                self.certificates, bind_issuer=self._bind_issuer, bind=self._bind
            ),
            *issuance_operations.operations(
                workflow=self.issuance,
                orders=self.orders,
                previewer=ProfilePreviewer(
                    authorities=self.authorities, issuers=self.issuers, clock=self._clock
                ),
            ),
            *bulk_revocation_operations.operations(self.bulk_revocation),
            *renewal_operations.operations(
                workflow=self.renewal_workflow, certificates=self.certificates
            ),
            *revocation_operations.operations(
                service=self.revocation,
                admin=self.publishing,
                crls=self.crl_checker,
                ocsp=self.ocsp_admin,
                certificates=self.certificates,
            ),
            *recovery_operations.operations(workflow=self.recovery_workflow, service=self.recovery),
            *agent_operations.operations(service=self.agents, workflow=self.agent_workflow),
            *target_operations.operations(service=self.targets, certificates=self.certificates),
            *deployment_operations.operations(
                service=self.deployments,
                workflow=self.agent_work,
                certificates=self.certificates,
            ),
            *notification_operations.operations(
                notifications=self.notifications,
                notifiers=self.notifiers,
                workflow=self.notifier_workflow,
                routes=self.routes,
                outbox=self.outbox,
            ),
            *report_operations.operations(self.reports),
        ]

    def close(self) -> None:
        """Close instances of plugins."""
        self.responses.close()
        self.pki.close()
        self.agent_workflow.close()
        self.observers.close()
        self.notifiers.close()
        self.issuers.close()
        self.signers.close()

    # -- small answers between rooms ----------------------------------------------------------

    def _guarded(self, kind: str) -> GuardedSigner:
        return GuardedSigner(self.signers.get(kind), clock=self._clock)

    def _http(self) -> PluginHttp:
        outbound = self.settings.outbound
        return PluginHttp(
            EgressPolicy(block_private=outbound.block_private, allow=outbound.allow),
            clock=self._clock,
            user_agent=product(),
            proxy=outbound.proxy,
            also_trusted=partial(self.trust_bundles.pem, "outbound"),
        )

    def _bind_issuer(self, uow: Uow, issuer_id: str | None) -> str:
        return self.issuers.require_usable(uow, issuer_id or "iss-local").id

    def _bind(self, uow: Uow, body: CertificateBody) -> None:
        self.profiles.resolve(uow, body.certificate_profile_id)
        self.policies.resolve(uow, body.renewal_policy_id)

    def _living_servers(self, uow: Uow) -> dict[str, str]:
        found = self.scheduler.replicas(uow).data
        return {replica.id: replica.hostname for replica in found if replica.alive}

    def _is_published(self, issuer_id: str) -> bool | None:
        if self.authorities.publishes(issuer_id):
            return True
        try:
            with self._units.read() as uow:
                self.issuers.get(uow, issuer_id)
        except NotFound:
            return None
        return False

    def _local_config(self, issuer_id: str) -> LocalConfig | None:
        """The stored configuration of a local issuer, as far as it can be read."""
        try:
            with self._units.read() as uow:
                return self.hierarchy.local_config(uow, issuer_id)
        except CertctlError:
            return None

    def _policy_changed(self, uow: Uow, emitted: Emitted) -> None:
        policy_id = emitted.event.resource_id
        self.certificates.replan_policy(uow, policy_id, is_default=policy_id == DEFAULT_POLICY_ID)


def _public_base(settings: Settings) -> str:
    base = settings.pki.base_url or settings.server.public_url
    return str(base).rstrip("/") if base else ""
