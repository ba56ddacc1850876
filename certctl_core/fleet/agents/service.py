"""Agents: enrollment, the list, credentials, retirement, who went silent."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from certctl_core.fleet.agents import _store
from certctl_core.fleet.agents._tables import agents
from certctl_core.fleet.agents.errors import (
    AgentHasDependencies,
    AgentNameTaken,
    AgentNotFound,
    AgentRetired,
    AgentUnusable,
    RetireReasonMissing,
    TooManyEnrollments,
)
from certctl_core.fleet.agents.events import (
    AgentEnrolled,
    AgentKeyRotated,
    AgentRegistered,
    AgentRetirementCascaded,
    AgentUpdated,
    AgentWentOffline,
)
from certctl_core.fleet.agents.events import AgentRetired as AgentRetiredEvent
from certctl_core.fleet.agents.schemas import (
    AgentBody,
    AgentKeyView,
    AgentQuery,
    AgentView,
    DependentsView,
    EnrollAgent,
    EnrolledView,
    NewAgentView,
    RegisterAgent,
    RetiredView,
    RetireQuery,
)
from certctl_core.fleet.agents.tokens import EnrollmentTokens
from certctl_core.fleet.agents.types import (
    AGENT_ROLE,
    FAILED_DEPLOYMENTS,
    HEARTBEAT_SECONDS,
    KEY_OVERLAP,
    KEY_PREFIX,
    POLL_SECONDS,
    AgentStatus,
    Dependents,
)
from certctl_core.kernel.actors import SYSTEM, Actor, ActorType
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import Uow, paginate, recipe
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.jobs import OPEN, JobQuery, JobService, LostReason
from certctl_core.kernel.observability import count_limited
from certctl_core.kernel.observability.metrics import gauge
from certctl_core.kernel.operations import Page
from certctl_core.kernel.secrets import Secret
from certctl_core.people.access import AccessService

TOPIC = "agents"
"""The change-feed topic of this room: credentials, and work that waits for an agent."""

ENROLLMENTS_PER_MINUTE = 10
_SWEEP_BATCH = 500
_TOTAL = gauge("certctl_agents", "Agents that are not retired.")
_ONLINE = gauge("certctl_agent_online", "Agents that are Online or Degraded.")
_SKEW = gauge("certctl_agent_clock_skew_seconds", "Largest clock difference of an agent.")
c = agents.c

DependentCounter = Callable[[Uow, str], Mapping[str, int]]
RetireHook = Callable[[Uow, str, str], None]


class AgentService:
    """The use cases of agents, each inside one unit of work.

    Args:
        access: Gives agents their role.
        jobs: Counts and cancels the jobs of an agent.
        tokens: The enrollment tokens.
        clock: For the limit on enrollments.
        offline_after: Without a sign of life for so long an agent is Offline.
        heartbeat_seconds: What agents are told about heartbeats.
        poll_seconds: And about polls.
    """

    def __init__(
        self,
        *,
        access: AccessService,
        jobs: JobService,
        tokens: EnrollmentTokens,
        clock: Clock,
        offline_after: timedelta = timedelta(seconds=180),
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        poll_seconds: int = POLL_SECONDS,
    ) -> None:
        self.tokens = tokens
        self.heartbeat_seconds = heartbeat_seconds
        self.poll_seconds = poll_seconds
        self._access = access
        self._jobs = jobs
        self._limit = _PerAddress(clock)
        self._offline_after = offline_after
        self._counters: list[DependentCounter] = []
        self._on_retire: list[RetireHook] = []

    def add_dependents(self, count: DependentCounter, retire: RetireHook) -> None:
        """A higher room owns things that hang on agents.

        Args:
            count: ``count(uow, agent_id)`` gives ``active_targets`` and ``active_certificates``.
            retire: ``retire(uow, agent_id, reason)`` ends them in the transaction of a cascade.
        """
        self._counters.append(count)
        self._on_retire.append(retire)

    def get(self, uow: Uow, agent_id: str) -> AgentView:
        """One agent, a retired one too.

        Raises:
            AgentNotFound: No such id.
        """
        row = _store.one(uow, agent_id)
        if row is None:
            raise AgentNotFound(agent_id=agent_id)
        return _store.view(row)

    def require_active(self, uow: Uow, agent_id: str) -> AgentView:
        """The agent that a body names.

        Raises:
            AgentUnusable: It does not exist or is retired.
        """
        row = _store.one(uow, agent_id)
        if row is None or row.retired_at is not None:
            raise AgentUnusable(agent_id=agent_id)
        return _store.view(row)

    def page(self, uow: Uow, query: AgentQuery, *, retired: bool = False) -> Page[AgentView]:
        """A page of active agents, or of the retired ones."""
        sorts = dict(_store.SORTS)
        if retired:
            sorts["retired_at"] = c.retired_at
        return paginate(
            uow,
            recipe(_store.selection, query, retired=retired),
            query=query,
            sorts=sorts,
            id_column=c.id,
            view=_store.view,
            default="-retired_at" if retired else "-registered_at",
        )

    def enroll(self, uow: Uow, body: EnrollAgent, *, source_address: str) -> EnrolledView:
        """Make an agent for the bearer of a token (AGT-01 … AGT-05); emits ``agent.enrolled``.

        The use of the token and the agent are one transaction. The agent gets the role ``r-agent``
        and a credential that is in this answer only.

        Raises:
            TooManyEnrollments: More than ten attempts a minute from this address.
            EnrollmentTokenInvalid: The token does not do.
            AgentNameTaken: An active agent has the name.
        """
        self._limit.take(source_address)
        token_id, labels = self.tokens.redeem(
            uow, body.token, name=body.name, source_address=source_address
        )
        view, key = self._insert(
            uow,
            status=AgentStatus.ONLINE,
            last_heartbeat_at=uow.now,
            name=body.name,
            hostname=body.hostname,
            os=body.os,
            architecture=body.architecture,
            ip_address=body.ip_address,
            agent_version=body.version,
            labels={**body.labels, **labels},
            token_id=token_id,
        )
        with _acting_as(uow, Actor(type=ActorType.AGENT, id=view.id, label=view.name)):
            uow.emit(
                AgentEnrolled(
                    resource_id=view.id,
                    name=view.name,
                    token_id=token_id,
                    source_address=source_address,
                )
            )
        return EnrolledView(
            id=view.id,
            name=view.name,
            api_key=key.reveal(),
            heartbeat_interval_seconds=self.heartbeat_seconds,
            poll_interval_seconds=self.poll_seconds,
            server_time=uow.now,
        )

    def register(self, uow: Uow, body: RegisterAgent) -> NewAgentView:
        """Make an agent ahead of its first contact; emits ``agent.registered``.

        It is Offline until it reports. The credential is in this answer only.

        Raises:
            AgentNameTaken: An active agent has the name.
        """
        view, key = self._insert(
            uow,
            status=AgentStatus.OFFLINE,
            name=body.name,
            hostname=body.hostname,
            labels=body.labels,
        )
        uow.emit(AgentRegistered(resource_id=view.id, name=view.name))
        return NewAgentView(api_key=key.reveal(), **view.model_dump())

    def update(
        self, uow: Uow, agent_id: str, body: AgentBody, *, if_match: int | None = None
    ) -> AgentView:
        """Change name and labels; emits ``agent.updated`` with a field diff.

        Raises:
            AgentNotFound, PreconditionFailed, AgentNameTaken: As named.
            AgentRetired: It is retired.
        """
        before = self.get(uow, agent_id)
        if before.retired_at is not None:
            raise AgentRetired
        if if_match is not None and before.version != if_match:
            raise PreconditionFailed
        if _store.name_taken(uow, body.name, but=agent_id):
            raise AgentNameTaken(name=body.name)
        values = {"name": body.name, "labels": dict(body.labels)}
        old = before.model_dump(include=set(values))
        changes = {name: [old[name], new] for name, new in values.items() if old[name] != new}
        if not changes:
            return before
        row = uow.first(
            sa.update(agents)
            .where(c.id == agent_id, c.version == before.version)
            .values(version=before.version + 1, updated_at=uow.now, **values)
            .returning(*_store.SHOWN)
        )
        if row is None:
            raise PreconditionFailed
        uow.emit(AgentUpdated(resource_id=agent_id, name=body.name, changes=changes))
        self._changed(uow)
        return _store.view(row)

    def rotate_key(self, uow: Uow, agent_id: str) -> AgentKeyView:
        """Give the agent a new credential; the old one works ten more minutes.

        Emits ``agent.key_rotated``. The new value is in this answer only.

        Raises:
            AgentNotFound: No such id.
            AgentRetired: It is retired.
        """
        key = new_key()
        until = uow.now + KEY_OVERLAP
        row = _store.rotate(uow, agent_id, digest=_store.hash_key(key.reveal()), old_until=until)
        if row is None:
            self.get(uow, agent_id)
            raise AgentRetired
        uow.emit(
            AgentKeyRotated(
                resource_id=agent_id,
                name=row.name,
                overlap_seconds=int(KEY_OVERLAP.total_seconds()),
            )
        )
        self._changed(uow)
        return AgentKeyView(id=agent_id, api_key=key.reveal(), old_key_expires_at=until)

    def dependents(self, uow: Uow, agent_id: str) -> Dependents:
        """What hangs on the agent."""
        counts: dict[str, int] = {}
        for count in self._counters:
            counts |= count(uow, agent_id)
        pending = sum(
            self._jobs.list(uow, JobQuery(agent_id=agent_id, status=status, per_page=1)).total
            for status in OPEN
        )
        return Dependents(pending_jobs=pending, **counts)

    def retire(self, uow: Uow, agent_id: str, query: RetireQuery) -> RetiredView | None:
        """Retire an agent for good (RET-01 … RET-04); None when it is retired already.

        The credential opens nothing any more. With ``force`` its targets are retired and its open
        jobs cancelled in the same transaction. Emits ``agent.retired`` and, on a cascade,
        ``agent.retirement_cascaded``.

        Raises:
            AgentNotFound: No such id.
            RetireReasonMissing: ``force`` without ``reason``.
            AgentHasDependencies: Something hangs on it and ``force`` is off.
        """
        row = _store.lock(uow, agent_id)
        if row is None:
            raise AgentNotFound(agent_id=agent_id)
        if row.retired_at is not None:
            return None
        found = self.dependents(uow, agent_id)
        counts = DependentsView.model_validate(found, from_attributes=True)
        if query.force and not query.reason:
            raise RetireReasonMissing
        if found.any and not query.force:
            raise AgentHasDependencies(counts=counts.model_dump())
        uow.execute(
            sa.update(agents)
            .where(c.id == agent_id, c.retired_at.is_(None))
            .values(
                status=AgentStatus.OFFLINE,
                retired_at=uow.now,
                retired_reason=query.reason,
                version=c.version + 1,
                updated_at=uow.now,
            )
        )
        if found.any:
            self._jobs.cancel_open(uow, owner=agent_id, reason="the agent was retired")
            for retire in self._on_retire:
                retire(uow, agent_id, query.reason)
            uow.emit(
                AgentRetirementCascaded(
                    resource_id=agent_id,
                    name=row.name,
                    reason=query.reason,
                    **counts.model_dump(),
                )
            )
        self._access.revoke_all(uow, actor_type=ActorType.AGENT, actor_id=agent_id)
        uow.emit(AgentRetiredEvent(resource_id=agent_id, name=row.name, reason=query.reason))
        self._changed(uow)
        return RetiredView(retired_at=uow.now, cascade=found.any, counts=counts)

    def sweep(self, uow: Uow) -> int:
        """Mark silent agents Offline and take back their running jobs; one batch a call.

        Emits ``agent.went_offline`` and, by the job engine, ``job.agent_lost`` (JOB-10).
        """
        rows = _store.silent(uow, offline_after=self._offline_after, limit=_SWEEP_BATCH)
        for row in rows:
            uow.emit(AgentWentOffline(resource_id=row.id, name=row.name))
            self._jobs.expire_holder(uow, holder=row.id, reason=LostReason.AGENT_OFFLINE)
        if rows:
            uow.touch("agents")
        return len(rows)

    def measure(self, uow: Uow) -> None:
        """Set the gauges."""
        counts, skew = _store.stats(uow)
        total = sum(counts.values())
        _TOTAL.set(total)
        _ONLINE.set(total - counts.get(AgentStatus.OFFLINE, 0))
        _SKEW.set(skew)

    def stats(self, uow: Uow) -> dict[str, int]:
        """Active agents by status."""
        return _store.stats(uow)[0]

    def note_deployment(self, uow: Uow, agent_id: str, *, ok: bool) -> None:
        """Count failed deployments in a row; three make the agent Degraded (AGT-24)."""
        failed = 0 if ok else c.failed_deployments + 1
        uow.execute(sa.update(agents).where(c.id == agent_id).values(failed_deployments=failed))
        if not ok:
            uow.execute(
                sa.update(agents)
                .where(
                    c.id == agent_id,
                    c.status == AgentStatus.ONLINE,
                    c.failed_deployments >= FAILED_DEPLOYMENTS,
                )
                .values(status=AgentStatus.DEGRADED)
            )
        uow.touch("agents")

    def _insert(self, uow: Uow, **values: object) -> tuple[AgentView, Secret]:
        key = new_key()
        blank = dict.fromkeys(("os", "architecture", "ip_address", "agent_version"), "")
        row = uow.first(
            uow.insert(agents)
            .values(
                **(
                    blank
                    | {
                        "id": uow.new_id(Prefix.AGENT),
                        "capabilities": {},
                        "boot_id": "",
                        "policy_digest": "",
                        "recovery_pending": 0,
                        "failed_deployments": 0,
                        "credential_hash": _store.hash_key(key.reveal()),
                        "credential_rotated_at": uow.now,
                        "registered_at": uow.now,
                        "version": 1,
                        "updated_at": uow.now,
                    }
                    | values
                )
            )
            .on_conflict_do_nothing()
            .returning(*_store.SHOWN)
        )
        if row is None:
            raise AgentNameTaken(name=values["name"])
        # Nobody but an administrator holds what an agent may do, yet operators bring agents.
        with _acting_as(uow, SYSTEM):
            self._access.grant(
                uow,
                actor_type=ActorType.AGENT,
                actor_id=row.id,
                role_id=AGENT_ROLE,
                source="agent",
                reason="every agent has it",
            )
        self._changed(uow)
        return _store.view(row), key

    @staticmethod
    def _changed(uow: Uow) -> None:
        uow.touch("agents")
        uow.wake(TOPIC)


def new_key() -> Secret:
    """A fresh credential: ``cca_`` and 43 characters of base64url (AGT-02)."""
    return Secret(f"{KEY_PREFIX}{secrets.token_urlsafe(32)}")


@contextmanager
def _acting_as(uow: Uow, actor: Actor) -> Iterator[None]:
    caller, uow.actor = uow.actor, actor
    try:
        yield
    finally:
        uow.actor = caller


class _PerAddress:
    """At most ten attempts a minute from one address; forgets idle ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}

    def take(self, address: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if len(self._seen) > _MAX_ADDRESSES:
                self._seen = {
                    key: times for key, times in self._seen.items() if times[-1] > now - _MINUTE
                }
            times = self._seen.setdefault(address, deque(maxlen=ENROLLMENTS_PER_MINUTE))
            if len(times) == ENROLLMENTS_PER_MINUTE and times[0] > now - _MINUTE:
                wait = max(1, round(times[0] + _MINUTE - now))
                count_limited("enrollment")
                raise TooManyEnrollments(retry_after_seconds=wait)
            times.append(now)


_MINUTE = 60.0
_MAX_ADDRESSES = 10_000

__all__ = ["TOPIC", "AgentService", "new_key"]
