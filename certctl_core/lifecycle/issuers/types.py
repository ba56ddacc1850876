"""The closed sets of this room: where an issuer comes from, how it stands, how it feels."""

from __future__ import annotations

from enum import StrEnum


class IssuerSource(StrEnum):
    """Who owns the row; ``env`` and ``file`` rows are read-only in the API (06 §3.1)."""

    DATABASE = "database"
    ENV = "env"
    FILE = "file"


class IssuerState(StrEnum):
    """Whether the issuer can be used, and if not, whose choice that is."""

    READY = "ready"
    UNAVAILABLE = "unavailable"
    DISABLED = "disabled"


class IssuerHealth(StrEnum):
    """What the last calls to it say."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"


class TestStatus(StrEnum):
    """The outcome of the last test of the present connection settings."""

    __test__ = False  # no test class, whatever its name says

    UNTESTED = "untested"
    SUCCESS = "success"
    FAILED = "failed"
