"""Background work of an installation: the scheduler's loops and the job runner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from certctl_core.api import idempotency
from certctl_core.app.rooms import Rooms
from certctl_core.fleet.agents import sweep_agents
from certctl_core.insight.notifications import DeliveryRules, DeliveryWorker
from certctl_core.insight.notifications import loops as notification_loops
from certctl_core.kernel.audit import loops as audit_loops
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory
from certctl_core.kernel.jobs import JobRunner
from certctl_core.kernel.jobs import loops as job_loops
from certctl_core.kernel.scheduler import Loop, LoopContext, Replica, Scheduler
from certctl_core.kernel.scheduler import loops as scheduler_loops
from certctl_core.lifecycle.authorities import run_ca_expiry
from certctl_core.lifecycle.renewal import run_pressing, run_renewals
from certctl_core.lifecycle.revocation import (
    notice_kind,
    run_changed_crls,
    run_crl,
    run_ocsp_presign,
    run_ocsp_purge,
)

_ORDERS_INTERVAL = timedelta(minutes=1)
_CA_EXPIRY_INTERVAL = timedelta(hours=6)
"""How often orders are looked for whose process died at the issuer."""

_CHANGED_INTERVAL = timedelta(seconds=3)
"""A revocation is on the CRL within five seconds, also when nobody fetches it (02 CRL-4)."""


class Background:
    """Starts and stops background work; without a start every loop can be run by hand."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        units: UnitOfWorkFactory,
        feed: ChangeFeed,
        rooms: Rooms,
        replica: Replica,
        is_alone: bool,
    ) -> None:
        self._units = units
        self._rooms = rooms
        self._intervals = settings.scheduler
        self._is_alone = is_alone
        self._replica_id = replica.id
        self._retention = settings.retention
        self._ocsp = settings.ocsp
        self._ca_warn_days = settings.ca.expiry_warn_days
        self._feed = feed
        self.deliveries = DeliveryWorker(
            units=units,
            clock=clock,
            notifiers=rooms.notifiers,
            inbox=rooms.notifications,
            holder=replica.id,
            rules=DeliveryRules(max_attempts=settings.notifications.max_attempts),
        )
        self.scheduler = Scheduler(units, clock=clock, replica=replica)
        self.runner = JobRunner(
            rooms.jobs,
            units,
            clock=clock,
            holder=replica.id,
            concurrency=settings.jobs.renewal_concurrency,
            claim_limit=settings.jobs.claim_limit,
            lease=settings.jobs.lease,
            poll=settings.scheduler.jobs_interval,
            pulse=feed.is_fresh,
        )
        self._running = False
        self._has_published = False
        self._kinds()
        self._loops()

    def start(self) -> None:
        """Begin to run loops and jobs.

        Raises:
            ResponderKeysApart: Another living server keeps OCSP responder keys elsewhere.
        """
        self._rooms.key_places.register(self._replica_id)
        self._running = True
        self._rooms.issuance.recover(everything=self._is_alone)
        if self._is_alone:
            idempotency.release_all(self._units)
        self._feed.subscribe("notify", self._deliver)
        self.scheduler.start()
        self.runner.start()

    def stop(self, timeout: timedelta = timedelta(seconds=30)) -> None:
        """Stop claiming, let what runs finish within ``timeout``."""
        if self._running:
            self._running = False
            self.runner.stop(timeout)
            self.scheduler.stop(timeout)
        self.deliveries.stop(timeout)

    def _kinds(self) -> None:
        rooms = self._rooms
        self.runner.register(rooms.bulk_revocation.kind())
        self.runner.register(
            notice_kind(
                units=self._units,
                service=rooms.revocation,
                certificates=rooms.certificates,
                issuers=rooms.issuers,
            )
        )

    def _loops(self) -> None:
        units, rooms, every = self._units, self._rooms, self._intervals
        loops: tuple[tuple[str, timedelta, Callable[[LoopContext], int]], ...] = (
            (
                "renewal",
                every.renewal_interval,
                lambda _context: run_renewals(units, rooms.renewal, rooms.certificates),
            ),
            (
                "short_lived",
                every.short_lived_interval,
                lambda _context: run_pressing(
                    units, rooms.renewal, rooms.certificates, round_trip=every.renewal_interval
                ),
            ),
            (
                "crl",
                every.crl_interval,
                lambda _context: run_crl(rooms.crls, rooms.responders, interval=every.crl_interval),
            ),
            ("crl_changed", _CHANGED_INTERVAL, self._publish),
            (
                "ocsp_purge",
                every.crl_interval,
                lambda _context: run_ocsp_purge(rooms.responses),
            ),
            (
                "job_retry",
                every.job_retry_interval,
                lambda _context: job_loops.retry_due(rooms.jobs, units),
            ),
            ("job_timeout", every.job_timeout_interval, self._reap),
            (
                "agent_health",
                every.agent_health_interval,
                lambda _context: sweep_agents(units, rooms.agents),
            ),
            (
                "audit_seal",
                every.audit_seal_interval,
                lambda context: audit_loops.seal(context, rooms.audit),
            ),
            (
                "audit_verify",
                every.audit_verify_interval,
                lambda context: audit_loops.verify(context, rooms.audit),
            ),
            ("orders", _ORDERS_INTERVAL, lambda _context: rooms.issuance.recover()),
            (
                "ca_expiry",
                _CA_EXPIRY_INTERVAL,
                lambda _context: run_ca_expiry(units, self._ca_warn_days),
            ),
            ("session_gc", every.session_gc_interval, self._collect),
            ("retention", every.retention_interval, self._forget),
        )
        for name, interval, run in loops:
            self.scheduler.add(Loop(name=name, interval=interval, run=run))
        if self._ocsp.presign:
            refresh = self._ocsp.cache_refresh_interval
            self.scheduler.add(
                Loop(
                    name="ocsp_presign",
                    interval=refresh,
                    run=lambda context: run_ocsp_presign(
                        rooms.presigner, interval=refresh, is_over=lambda: context.is_over
                    ),
                )
            )
        self.scheduler.add(
            Loop(
                name="notify",
                interval=every.notify_interval,
                run=lambda _context: notification_loops.deliver(self.deliveries),
                single_holder=False,
            )
        )

    def _publish(self, _context: LoopContext) -> int:
        """Bring CRLs up to date with the revocations."""
        at_start, self._has_published = not self._has_published, True
        return run_changed_crls(self._rooms.crls, at_start=at_start)

    def _deliver(self) -> None:
        self.scheduler.wake("notify")

    def _forget(self, context: LoopContext) -> int:
        """Remove what only tells of the past and is past its retention."""
        rooms, keep, gone = self._rooms, self._retention, 0
        while not context.is_over:
            with context.units.begin(context.actor) as uow:
                batch = rooms.jobs.prune(uow, before=uow.now - keep.jobs)
            gone += batch
            if not batch:
                break
        return gone + notification_loops.purge(
            context.units, rooms.notifications, older_than=keep.notifications
        )

    def _reap(self, context: LoopContext) -> int:
        rooms = self._rooms
        returned = scheduler_loops.return_jobs_of_dead_replicas(
            context, scheduler=rooms.scheduler, jobs=rooms.jobs
        )
        return returned + job_loops.reap(rooms.jobs, self._units)

    def _collect(self, context: LoopContext) -> int:
        with context.units.begin(context.actor) as uow:
            gone = self._rooms.sessions.collect_garbage(uow)
        return gone + idempotency.purge(context.units)
