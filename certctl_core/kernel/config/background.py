"""What runs without being asked: loops, jobs, agents' heartbeats."""

from datetime import timedelta

from certctl_core.kernel.config.fields import ON, Section, setting
from certctl_core.kernel.config.values import Duration, Flag, Integer
from certctl_core.kernel.secrets import Secret

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_MONTH = timedelta(days=31)
_YEAR = timedelta(days=366)


class SchedulerSettings(Section):
    """``settings.scheduler``: one interval per loop, named after the loop."""

    enabled: Flag = setting(
        "SCHEDULER_ENABLED",
        ON,
        "Whether this process runs loops and jobs; false makes it an API-only replica.",
        example="false",
    )
    renewal_interval: Duration = setting(
        "SCHEDULER_RENEWAL_CHECK_INTERVAL",
        timedelta(hours=1),
        "How often due renewals are looked for.",
        ge=_MINUTE,
        le=_MONTH,
        example="15m",
    )
    short_lived_interval: Duration = setting(
        "SHORT_LIVED_EXPIRY_CHECK_INTERVAL",
        timedelta(seconds=30),
        "How often ended certificates are marked, and due renewals started that end too soon to"
        " wait for CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL.",
        ge=_SECOND,
        le=_MONTH,
        example="10s",
    )
    jobs_interval: Duration = setting(
        "SCHEDULER_JOB_PROCESSOR_INTERVAL",
        timedelta(seconds=30),
        "How often waiting jobs are looked for when no signal announced one.",
        ge=_SECOND,
        le=_MONTH,
        example="10s",
    )
    job_retry_interval: Duration = setting(
        "SCHEDULER_RETRY_INTERVAL",
        timedelta(minutes=5),
        "How often failed jobs are looked at for another try.",
        ge=_SECOND,
        le=_MONTH,
        example="1m",
    )
    job_timeout_interval: Duration = setting(
        "JOB_TIMEOUT_INTERVAL",
        timedelta(minutes=10),
        "How often overdue jobs are taken back or given up.",
        ge=_SECOND,
        le=_MONTH,
        example="5m",
    )
    agent_health_interval: Duration = setting(
        "SCHEDULER_AGENT_HEALTH_CHECK_INTERVAL",
        timedelta(minutes=2),
        "How often silent agents are looked for.",
        ge=_SECOND,
        le=_MONTH,
        example="1m",
    )
    notify_interval: Duration = setting(
        "NOTIFY_WORKER_INTERVAL",
        timedelta(seconds=5),
        "How often notifications that are due are looked for; new ones go out at once.",
        ge=_SECOND,
        le=_MONTH,
        example="30s",
    )
    crl_interval: Duration = setting(
        "CRL_GENERATION_INTERVAL",
        timedelta(hours=1),
        "How often a fresh CRL is signed. CERTCTL_CRL_VALIDITY must be at least twice as long.",
        ge=_MINUTE,
        le=_MONTH,
        example="6h",
    )
    session_gc_interval: Duration = setting(
        "SESSION_GC_INTERVAL",
        timedelta(hours=1),
        "How often ended sessions are removed.",
        ge=_MINUTE,
        le=_MONTH,
        example="15m",
    )
    audit_seal_interval: Duration = setting(
        "AUDIT_SEAL_INTERVAL",
        timedelta(seconds=1),
        "How often new audit events are sealed into the log.",
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        example="500ms",
    )
    audit_verify_interval: Duration = setting(
        "AUDIT_VERIFY_INTERVAL",
        timedelta(hours=6),
        "How often the audit log is verified.",
        ge=_MINUTE,
        le=_MONTH,
        example="1h",
    )
    retention_interval: Duration = setting(
        "RETENTION_INTERVAL",
        timedelta(hours=24),
        "How often rows past their retention are removed.",
        ge=timedelta(hours=1),
        le=_MONTH,
        example="12h",
    )


class JobSettings(Section):
    """``settings.jobs``."""

    renewal_concurrency: Integer = setting(
        "RENEWAL_CONCURRENCY",
        25,
        "Most jobs that one background worker runs at the same time.",
        ge=1,
        le=500,
        example="50",
    )
    claim_limit: Integer = setting(
        "SCHEDULER_JOB_CLAIM_LIMIT",
        1000,
        "Most jobs that one claim takes.",
        ge=1,
        le=100_000,
        example="200",
    )
    lease: Duration = setting(
        "JOB_LEASE",
        timedelta(minutes=10),
        "How long a claimed job stays with its worker or agent without a sign of life.",
        ge=timedelta(seconds=10),
        le=timedelta(days=1),
        example="5m",
    )
    awaiting_csr_timeout: Duration = setting(
        "JOB_AWAITING_CSR_TIMEOUT",
        timedelta(hours=24),
        "How long a job waits for the agent's certificate request.",
        ge=_SECOND,
        le=_YEAR,
        example="4h",
    )


class AgentSettings(Section):
    """``settings.agents``: the server's side of agents."""

    offline_after: Duration = setting(
        "AGENT_OFFLINE_AFTER",
        timedelta(seconds=180),
        "An agent that was silent for this long counts as offline.",
        ge=timedelta(seconds=10),
        le=_YEAR,
        example="5m",
    )
    bootstrap_token: Secret | None = setting(
        "AGENT_BOOTSTRAP_TOKEN",
        None,
        "A token with which any agent may enroll. Unset: only tokens that were issued for one.",
    )
    bootstrap_token_previous: Secret | None = setting(
        "AGENT_BOOTSTRAP_TOKEN_PREVIOUS",
        None,
        "The former CERTCTL_AGENT_BOOTSTRAP_TOKEN, good for enrolling until it is removed here.",
    )


class NotificationSettings(Section):
    """``settings.notifications``: how hard people and systems are told."""

    max_attempts: Integer = setting(
        "NOTIFY_MAX_ATTEMPTS",
        8,
        "After so many failed attempts a delivery is given up and waits for a person.",
        ge=1,
        le=100,
        example="12",
    )
