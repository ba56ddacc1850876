"""What the fleet rooms and the job engine answer."""

from __future__ import annotations

from typing import Any, TypedDict


class Job(TypedDict):
    """A job as callers see it; payload and lease id stay inside."""

    id: str
    type: str
    status: str
    subject_type: str
    subject_id: str
    owner: str
    priority: int
    certificate_id: str | None
    target_id: str | None
    agent_id: str | None
    version_id: str | None
    order_id: str | None
    parent_job_id: str | None
    attempts: int
    max_attempts: int
    last_error: str | None
    error_code: str | None
    scheduled_at: str
    next_attempt_at: str | None
    started_at: str | None
    completed_at: str | None
    lease_owner: str | None
    lease_expires_at: str | None
    requested_by: str
    verification_status: str | None
    verified_at: str | None
    verification_fingerprint: str | None
    verification_error: str | None
    result: dict[str, Any] | None
    request_id: str
    created_at: str
    updated_at: str


class JobStatusAnswer(TypedDict):
    """The answer of an action on a job."""

    status: str
    job_id: str


class Verification(TypedDict):
    """The stored result of the probe after a deployment."""

    job_id: str
    target_id: str | None
    expected_fingerprint: str | None
    actual_fingerprint: str | None
    verified: bool
    verified_at: str | None
    error: str | None


class Agent(TypedDict):
    """An agent; its credential is never shown."""

    id: str
    name: str
    hostname: str
    os: str
    architecture: str
    ip_address: str
    agent_version: str
    labels: dict[str, str]
    capabilities: dict[str, list[str]]
    status: str
    last_heartbeat_at: str | None
    started_at: str | None
    policy_digest: str
    recovery_pending: int
    failed_deployments: int
    clock_skew_seconds: float | None
    credential_rotated_at: str
    registered_at: str
    retired_at: str | None
    retired_reason: str | None
    version: int
    updated_at: str


class NewAgent(Agent):
    """An agent with its credential: shown this once."""

    api_key: str


class Dependents(TypedDict):
    """What hung on the agent."""

    active_targets: int
    active_certificates: int
    pending_jobs: int


class Retired(TypedDict):
    """How an agent was retired; the counts are those before."""

    retired_at: str
    already_retired: bool
    cascade: bool
    counts: Dependents


class EnrollmentToken(TypedDict):
    """An enrollment token without its value."""

    id: str
    label: str
    max_uses: int
    uses: int
    agent_labels: dict[str, str]
    name_pattern: str | None
    source_cidrs: list[str]
    created_by: str
    created_at: str
    expires_at: str
    revoked_at: str | None


class NewEnrollmentToken(EnrollmentToken):
    """A token that was just made, with its value: shown this once."""

    token: str


class Enrolled(TypedDict):
    """The answer to an enrollment; the credential is shown this once."""

    id: str
    name: str
    api_key: str
    heartbeat_interval_seconds: int
    poll_interval_seconds: int
    server_time: str


class AgentKey(TypedDict):
    """A fresh credential, shown this once."""

    id: str
    api_key: str
    old_key_expires_at: str


class Heartbeat(TypedDict):
    """The answer to a sign of life."""

    status: str
    server_time: str
    heartbeat_interval_seconds: int
    poll_interval_seconds: int


class TestCheck(TypedDict):
    """One thing that the test of a target looked at."""

    name: str
    ok: bool
    detail: str
    hint: str


class TestReport(TypedDict):
    """The result of a target's test on its agent."""

    ok: bool
    checks: list[TestCheck]


class Target(TypedDict):
    """A target; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str
    agent_id: str
    config: dict[str, Any]
    enabled: bool
    test_status: str
    last_tested_at: str | None
    last_result: TestReport | None
    retired_at: str | None
    retired_reason: str | None
    version: int
    created_at: str
    updated_at: str


class LinkedTarget(TypedDict):
    """A target that a certificate is deployed to."""

    id: str
    name: str
    kind: str
    agent_id: str
    enabled: bool
    auto_deploy: bool
    linked_at: str


class Deploy(TypedDict):
    """Deployments were handed to the agents."""

    status: str
    job_ids: list[str]


class Deployment(TypedDict):
    """One attempt to deploy a version to a target."""

    id: str
    job_id: str
    attempt: int
    certificate_id: str
    version_id: str
    target_id: str
    agent_id: str
    outcome: str
    error_code: str | None
    error_message: str | None
    address: str
    fingerprint_sha256: str
    stages: list[dict[str, Any]]
    verification: dict[str, Any]
    rollback: dict[str, Any]
    details: dict[str, Any]
    duration_ms: int
    started_at: str | None
    finished_at: str


class TestStarted(TypedDict):
    """A test was handed to the agent."""

    status: str
    job_id: str
