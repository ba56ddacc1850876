"""Jobs as values: states, the one transition table, a claimed job, a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from certctl_core.kernel.events import JSON
from certctl_core.kernel.operations import NO_SCOPE, Resource
from certctl_core.values import dataclass

SERVER = "server"
"""The owner of jobs that the server's own runner claims; any other owner is an agent's id."""


class JobStatus(StrEnum):
    """The states of spec 01 §7."""

    PENDING = "Pending"
    RUNNING = "Running"
    AWAITING_CSR = "AwaitingCSR"
    AWAITING_APPROVAL = "AwaitingApproval"
    AWAITING_ISSUER = "AwaitingIssuer"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


_S = JobStatus
TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    _S.PENDING: frozenset({_S.RUNNING, _S.CANCELLED}),
    _S.RUNNING: frozenset(
        {
            _S.AWAITING_CSR,
            _S.AWAITING_ISSUER,
            _S.COMPLETED,
            _S.FAILED,
            _S.PENDING,  # the lease ended and attempts are left
            _S.CANCELLED,
        }
    ),
    _S.AWAITING_CSR: frozenset(
        {
            _S.AWAITING_CSR,  # a CSR was refused and attempts are left
            _S.RUNNING,
            _S.AWAITING_ISSUER,
            _S.COMPLETED,
            _S.FAILED,
            _S.CANCELLED,
        }
    ),
    _S.AWAITING_APPROVAL: frozenset({_S.PENDING, _S.CANCELLED}),
    _S.AWAITING_ISSUER: frozenset({_S.RUNNING, _S.COMPLETED, _S.FAILED, _S.CANCELLED}),
    _S.FAILED: frozenset(
        {
            _S.PENDING,
            _S.CANCELLED,  # only while a retry is waiting: the operator gives it up
        }
    ),
    _S.COMPLETED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""From → to. The only place that says which steps exist."""

OPEN = frozenset(
    {
        _S.PENDING,
        _S.RUNNING,
        _S.AWAITING_CSR,
        _S.AWAITING_APPROVAL,
        _S.AWAITING_ISSUER,
    }
)
"""States of an unfinished job. A ``Failed`` job that waits for its retry holds the subject too."""

TERMINAL = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})


class VerificationStatus(StrEnum):
    """What the probe after a deployment found."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class LostReason(StrEnum):
    """Why a running job was taken from its holder."""

    LEASE_EXPIRED = "lease_expired"
    HOLDER_DEAD = "holder_dead"
    AGENT_OFFLINE = "agent_offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to enqueue.

    Attributes:
        type: Its kind, e.g. ``Renewal``.
        subject_type / subject_id: What it works on.
        payload: Plain JSON, validated by the kind's model when it runs. Never a secret.
        owner: ``server`` or the id of the agent that alone may claim it.
        status: Where it starts: ``Pending``, ``AwaitingCSR`` or ``AwaitingApproval``.
        delay: Not before this long from now.
        priority: Smaller runs first.
        subject_key: The key of the one-open-job rule; None takes the rule of the type.
        scope: Profile and issuer for the access decision.
    """

    type: str
    subject_type: str
    subject_id: str
    payload: Mapping[str, JSON] = field(default_factory=dict)
    owner: str = SERVER
    status: JobStatus = JobStatus.PENDING
    delay: timedelta = timedelta(0)
    priority: int = 100
    max_attempts: int = 3
    subject_key: str | None = None
    certificate_id: str | None = None
    target_id: str | None = None
    agent_id: str | None = None
    version_id: str | None = None
    order_id: str | None = None
    parent_job_id: str | None = None
    scope: Resource = NO_SCOPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job in the hands of whoever claimed it.

    Attributes:
        attempts: Claims so far, this one included.
        lease_id: Proof of the claim; every report must carry it.
    """

    id: str
    type: str
    status: JobStatus
    subject_type: str
    subject_id: str
    payload: Mapping[str, JSON]
    owner: str
    priority: int
    attempts: int
    max_attempts: int
    scheduled_at: datetime
    started_at: datetime | None
    lease_owner: str | None
    lease_id: str | None
    lease_expires_at: datetime | None
    requested_by: str
    parent_job_id: str | None
    certificate_id: str | None
    target_id: str | None
    agent_id: str | None
    version_id: str | None
    order_id: str | None
    request_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One finished job of a batch."""

    job_id: str
    lease_id: str
    result: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a probe of the deployed endpoint found; fingerprints are SHA-256 in lower hex."""

    status: VerificationStatus
    expected_fingerprint: str | None = None
    actual_fingerprint: str | None = None
    error: str | None = None
