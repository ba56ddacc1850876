"""What a check has to say: a code, how bad it is, and a sentence."""

from __future__ import annotations

from enum import StrEnum

from certctl_core.values import dataclass


class Severity(StrEnum):
    """``error`` stops what was about to happen, ``warning`` is told and logged."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check.

    Attributes:
        code: Snake case, stable.
        severity: Whether it stops the operation.
        text: A sentence for people.
    """

    code: str
    severity: Severity
    text: str


def errors_of(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Keep the findings that stop the operation."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
