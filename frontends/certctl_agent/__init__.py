"""The agent: makes keys on its host, fetches certificates for them, deploys them, reports.

It is a light client: cryptography and the deploy transaction, no database, no web framework.
``main.enroll`` and ``main.run`` are what a command line calls.
"""

from __future__ import annotations

from certctl_agent.errors import (
    AgentAlreadyEnrolled,
    AgentAlreadyRunning,
    AgentConfigProblem,
    AgentNotEnrolled,
    CredentialExposed,
    KeyDirectoryRefused,
    StateUnusable,
)
from certctl_agent.main import enroll, run
from certctl_agent.state import Identity

__all__ = [
    "AgentAlreadyEnrolled",
    "AgentAlreadyRunning",
    "AgentConfigProblem",
    "AgentNotEnrolled",
    "CredentialExposed",
    "Identity",
    "KeyDirectoryRefused",
    "StateUnusable",
    "enroll",
    "run",
]
