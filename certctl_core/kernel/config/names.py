"""Names beginning with ``CERTCTL_`` that are no settings of the server: old ones and those of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from certctl_core.values import dataclass

CLIENT_NAMES = frozenset(
    {
        "SERVER_URL",
        "API_KEY",
        "API_KEY_FILE",
        "SERVER_CA_BUNDLE_PATH",
        "SERVER_TLS_INSECURE_SKIP_VERIFY",
        "AGENT_ID",
        "AGENT_NAME",
        "AGENT_API_KEY_FILE",
        "AGENT_ENROLLMENT_TOKEN",
        "AGENT_ENROLLMENT_TOKEN_FILE",
        "AGENT_TLS_MIN_VERSION",
        "AGENT_POLICY_FILE",
        "STATE_DIR",
        "KEY_DIR",
        "DISCOVERY_DIRS",
        "DISCOVERY_INTERVAL",
    }
)
"""Read by the command line and the agent, which may share an environment with the server."""

SECRET_REFERENCE_PREFIX = "SECRET_"  # noqa: S105 - a prefix of names
"""``CERTCTL_SECRET_*`` is what ``secretref:env:`` points to."""

_BARE_NUMBER = re.compile(r"\s*\d{1,9}\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """An old name: the setting that took over, and how the old value is written there."""

    to: str
    convert: Callable[[str], str] = str


def _seconds(text: str) -> str:
    return f"{text.strip()}s" if _BARE_NUMBER.fullmatch(text) else text


def _opposite(text: str) -> str:
    opposites = {"true": "false", "1": "false", "yes": "false", "on": "false"}
    opposites.update({"false": "true", "0": "true", "no": "true", "off": "true"})
    return opposites.get(text.strip().lower(), text)


RENAMED: Mapping[str, Renamed] = MappingProxyType(
    {
        "BLOCK_RFC1918_OUTBOUND": Renamed(to="OUTBOUND_BLOCK_PRIVATE"),
        "AUDIT_CHAIN_VERIFY_INTERVAL": Renamed(to="AUDIT_VERIFY_INTERVAL"),
        "AUDIT_FLUSH_TIMEOUT_SECONDS": Renamed(to="SHUTDOWN_TIMEOUT", convert=_seconds),
        "MIGRATIONS_VIA_HOOK": Renamed(to="MIGRATE_ON_START", convert=_opposite),
        "SCHEDULER_NOTIFICATION_PROCESS_INTERVAL": Renamed(to="NOTIFY_WORKER_INTERVAL"),
        "NOTIFICATION_RETRY_INTERVAL": Renamed(to="NOTIFY_WORKER_INTERVAL"),
    }
)
"""Accepted with a warning until the next major version."""

DROPPED: Mapping[str, str] = MappingProxyType(
    {
        "AUTH_SECRET": "Use CERTCTL_API_KEYS_NAMED, where each key has a name and a role.",
        "DATABASE_MIGRATIONS_PATH": "The migrations are part of the program.",
        "AGENT_BOOTSTRAP_TOKEN_DENY_EMPTY": "Without a token nobody enrolls in any case.",
        "ACME_INSECURE": "Give the issuer a CA bundle instead.",
        "ASYNC_POLL_MAX_WAIT_SECONDS": "Each issuer has a deadline of its own.",
        "DEMO_MODE_RESIDUAL_STRICT": "Nothing is left behind that it could find.",
        "K8S_DEPLOY_KUBELET_SYNC_TIMEOUT": "It is an option of the target.",
        "K8SSECRET_PREVIEW_ACK": "It is not needed any more.",
    }
)
"""Names that once meant something, and what to do now."""
