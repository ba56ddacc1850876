"""The result of a test or dry run: what was looked at, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from certctl_core.contracts.errors import PluginError, safe_text
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: snake_case, stable: ``reachable``, ``tls_trust``, ``authentication``, ``profile`` …
        ok: Whether it is as it should be.
        detail: One sentence, safe to show.
        hint: What the operator should do when it is not ok.
    """

    name: str
    ok: bool
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The checks of one test, in the order they were made."""

    checks: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)

    @classmethod
    def of(cls, checks: Iterable[Check]) -> CheckReport:
        """Gather checks into a report."""
        return cls(checks=tuple(checks))

    @classmethod
    def failed(cls, name: str, error: PluginError) -> CheckReport:
        """The report of a test that ended with an error."""
        check = Check(name=name, ok=False, detail=safe_text(error.detail), hint=error.hint)
        return cls(checks=(check,))
