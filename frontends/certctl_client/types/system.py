"""What the installation says of itself."""

from __future__ import annotations

from typing import TypedDict


class ServerVersion(TypedDict):
    """Which release answers."""

    version: str
    commit: str | None
    modified: bool | None
    build_time: str | None
    python_version: str


class Plugin(TypedDict):
    """One plugin kind, or a plugin that could not be used."""

    kind: str
    hook: str
    title: str
    distribution: str
    version: str
    available: bool
    error: str
    capabilities: list[str]
    aliases: list[str]


class PluginList(TypedDict):
    """What is installed."""

    plugins: list[Plugin]


class SignerPurpose(TypedDict):
    """Which signer keeps the keys of a purpose."""

    purpose: str
    signer: str
    setting: str


class Signer(TypedDict):
    """A kind of signer."""

    kind: str
    title: str
    summary: str
    available: bool
    error: str
    is_ready: bool
    is_ephemeral: bool
    algorithms: list[str]
    purposes: list[str]


class SignerList(TypedDict):
    """The signers of an installation, and what each is used for."""

    signers: list[Signer]
    purposes: list[SignerPurpose]


class LoopRun(TypedDict):
    """One run of a loop."""

    replica_id: str
    started_at: str
    ended_at: str
    result: str
    items: int
    error: str


class Loop(TypedDict):
    """A loop and how it fared last."""

    name: str
    interval_seconds: float
    single_holder: bool
    replica_id: str | None
    last_started_at: str | None
    last_ended_at: str | None
    last_success_at: str | None
    last_result: str | None
    last_items: int | None
    last_error: str | None
    runs: list[LoopRun]


class LoopList(TypedDict):
    """Every loop that has ever been started."""

    data: list[Loop]


class LoopRequested(TypedDict):
    """The answer to a request for a run."""

    status: str
    name: str


class Replica(TypedDict):
    """One server process."""

    id: str
    hostname: str
    version: str
    role: str
    started_at: str
    heartbeat_at: str
    alive: bool


class ReplicaList(TypedDict):
    """Every server process that is alive or died within the last day."""

    data: list[Replica]


class Summary(TypedDict):
    """The installation in numbers."""

    total_certificates: int
    expiring_certificates: int
    expired_certificates: int
    revoked_certificates: int
    total_agents: int
    active_agents: int
    offline_agents: int
    pending_jobs: int
    failed_jobs: int
    complete_jobs: int
    generated_at: str
