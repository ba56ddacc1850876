"""Values of the targets room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass


class TestStatus(StrEnum):
    """What the last test of a target said."""

    __test__ = False

    UNTESTED = "untested"
    SUCCESS = "success"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRef:
    """A target as other rooms need it."""

    id: str
    name: str
    kind: str
    agent_id: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWork:
    """What the owning agent gets to see of a target: the configuration with its secrets in place.

    Only in the answer to the agent's own poll; never logged, never stored (JOB-01).
    """

    id: str
    kind: str
    config: Mapping[str, JSON] = field(repr=False)
    config_digest: str
