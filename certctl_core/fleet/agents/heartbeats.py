"""Signs of life: gathered in memory, stored once a second by one statement (DESIGN §8)."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import structlog

from certctl_core.fleet.agents import _store
from certctl_core.fleet.agents.events import AgentReturned
from certctl_core.fleet.agents.schemas import Heartbeat
from certctl_core.fleet.agents.types import MAX_SKEW
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import JobService
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.agents")
_ACTOR = system_actor("agent-heartbeats")


@dataclass(frozen=True, slots=True)
class _Beat:
    at: datetime
    body: Heartbeat


class Heartbeats:
    """What agents reported and is not stored yet.

    Args:
        units: Opens units of work.
        jobs: Prolongs the leases of running jobs.
        lease: How long a lease lives from a sign of life on.
        interval: How often to store; None starts no thread, and ``flush`` is up to the caller.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        jobs: JobService,
        lease: timedelta,
        interval: timedelta | None = timedelta(seconds=1),
    ) -> None:
        self._units = units
        self._jobs = jobs
        self._lease = lease
        self._interval = interval
        self._beats: dict[str, _Beat] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, agent_id: str, body: Heartbeat) -> None:
        """Take a sign of life; it is durable after the next flush."""
        beat = _Beat(at=self._units.clock.now(), body=body)
        with self._lock:
            self._beats[agent_id] = beat
            if self._thread is None and self._interval is not None and not self._stop.is_set():
                # Only now: a process that serves no agent needs no thread, and a fork loses it.
                self._thread = threading.Thread(
                    target=self._run, name="agent-heartbeats", daemon=True
                )
                self._thread.start()

    def flush(self) -> int:
        """Store what was gathered; returns how many agents. On failure it is kept for the next time.

        Agents that were Offline come back (``agent.returned``); leases of running jobs move.

        Raises:
            CertctlError: The database did not take it.
        """
        with self._lock:
            beats, self._beats = self._beats, {}
        if not beats:
            return 0
        try:
            with self._units.begin(_ACTOR) as uow:
                returned = _store.offline_among(uow, beats)
                # In the order of the ids: two processes that flush at once must not deadlock.
                ordered = sorted(beats.items())
                _store.record_heartbeats(uow, [_values(i, beat) for i, beat in ordered])
                for agent_id, beat in ordered:
                    if beat.body.running_jobs:
                        self._jobs.renew(
                            uow,
                            holder=agent_id,
                            job_ids=beat.body.running_jobs,
                            lease=self._lease,
                        )
                for row in returned:
                    uow.emit(AgentReturned(resource_id=row.id, name=row.name))
                uow.touch("agents")
        except CertctlError:
            with self._lock:
                self._beats = beats | self._beats
            raise
        return len(beats)

    def close(self) -> None:
        """Stop the thread and store the rest."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
        try:
            self.flush()
        except CertctlError as error:
            _log.warning("heartbeats.lost", code=error.code)

    def _run(self) -> None:
        assert self._interval is not None  # noqa: S101 - no thread without it
        while not self._stop.wait(self._interval.total_seconds()):
            try:
                self.flush()
            except CertctlError as error:
                _log.warning("heartbeats.not_stored", code=error.code)
            except Exception:  # noqa: BLE001 - the thread outlives a bad database
                _log.exception("heartbeats.failed")


def _values(agent_id: str, beat: _Beat) -> dict[str, object]:
    body = beat.body
    skew = None if body.clock is None else (beat.at - body.clock).total_seconds()
    is_off = skew is not None and abs(skew) > MAX_SKEW.total_seconds()
    if is_off:
        _log.warning("agent.clock_skew", agent_id=agent_id, seconds=skew)
    capabilities = body.capabilities
    return {
        "b_id": agent_id,
        "b_at": beat.at,
        "b_degraded": is_off or body.recovery_pending > 0,
        "b_agent_version": body.version,
        "b_hostname": body.hostname,
        "b_os": body.os,
        "b_architecture": body.architecture,
        "b_ip_address": body.ip_address,
        "b_boot_id": body.boot_id,
        "b_policy_digest": body.policy_digest,
        "b_started_at": body.started_at,
        "b_has_capabilities": capabilities is not None,
        "b_capabilities": {} if capabilities is None else capabilities.model_dump(),
        "b_recovery_pending": body.recovery_pending,
        "b_clock_skew_seconds": skew,
    }
