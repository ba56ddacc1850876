"""Every trust bundle of this process, by name; reloads reach the other processes, too."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import structlog

from certctl_core.enrollment.trust_bundles.errors import TrustBundleError, TrustBundleNotFound
from certctl_core.enrollment.trust_bundles.holder import TrustHolder
from certctl_core.enrollment.trust_bundles.schemas import (
    TrustAnchorView,
    TrustBundlesView,
    TrustBundleView,
)
from certctl_core.enrollment.trust_bundles.types import TrustSnapshot
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import gauge

_log = structlog.get_logger("certctl.trust_bundles")
TOPIC = "trust"
STAMP = "trust_bundles"
"""Moves with every reload by hand: that is how other processes hear of it (04 TB-8)."""
_ENDS = gauge(
    "certctl_trust_anchor_not_after_timestamp_seconds",
    "When the first certificate of a trust bundle ends, as a Unix time.",
    ("bundle",),
)


@dataclass(slots=True)
class _Entry:
    """One bundle, and where it comes from."""

    holder: TrustHolder
    use: str
    last_error: str | None = None


class TrustBundles:
    """Keeps the bundles that the settings name. Safe for threads.

    Args:
        units: To see whether another process reloaded.
        clock: The time.
        feed: The change feed; its topic ``trust`` means that another process reloaded.
    """

    def __init__(
        self, *, units: UnitOfWorkFactory, clock: Clock, feed: ChangeFeed | None = None
    ) -> None:
        self._units = units
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._stamp: int | None = None
        self._may_be_behind = True
        if feed is not None:
            feed.subscribe(TOPIC, self._look_again)

    def register(self, name: str, path: Path | None, *, use: str) -> TrustHolder:
        """Load a bundle at the start.

        Args:
            name: One word; ``outbound`` …
            path: The PEM file.
            use: What trusts it, for people.

        Raises:
            TrustBundleError: It cannot be used: what needs it must not start (04 TB-4).
        """
        holder = TrustHolder(name, path, clock=self._clock)
        with self._lock:
            self._entries[name] = _Entry(holder, use)
        self._measure(holder.get())
        return holder

    def get(self, name: str) -> TrustSnapshot:
        """What is in force; a request takes it once and keeps it to its end (04 TB-3).

        Raises:
            TrustBundleNotFound: No such bundle.
        """
        entry = self._entry(name)
        self._follow()
        return entry.holder.get()

    def pem(self, name: str) -> str:
        """What a bundle trusts now; empty where there is no such bundle."""
        return self.get(name).pem_at(self._clock.now()) if name in self._entries else ""

    def show(self) -> TrustBundlesView:
        """Every bundle as it is in force."""
        self._follow()
        return TrustBundlesView(data=[self._view(name) for name in self.names()])

    def _look_again(self) -> None:
        self._may_be_behind = True

    def _follow(self) -> None:
        """Where another process has reloaded, do the same; it has audited."""
        if not self._may_be_behind or not self._entries:
            return
        self._may_be_behind = False
        try:
            with self._units.read() as uow:
                stamp = uow.stamp(STAMP)
        except CertctlError:
            self._may_be_behind = True  # the database is away: what is in force stays
            return
        known, self._stamp = self._stamp, stamp
        if known in {None, stamp}:
            return
        for name in self.names():
            try:
                self.put_in_force(name)
            except TrustBundleError:
                continue  # logged, and shown as the bundle's last error

    def put_in_force(self, name: str) -> tuple[TrustSnapshot, TrustSnapshot]:
        """Read a bundle again, in this process only; gives what was and what is in force.

        Raises:
            TrustBundleNotFound: No such bundle.
            TrustBundleError: The file cannot be used; what was in force stays (04 TB-1).
        """
        entry = self._entry(name)
        before = entry.holder.get()
        try:
            found = entry.holder.reload()
        except TrustBundleError as error:
            entry.last_error = error.detail
            _log.error(
                "trust_bundle.reload_failed", bundle=name, path=str(entry.holder.path),
                code=error.code, reason=error.detail,
            )  # fmt: skip
            raise
        entry.last_error = None
        self._measure(found)
        _log.info("trust_bundle.reloaded", bundle=name, certificates=len(found.anchors))
        return before, found

    def names(self) -> list[str]:
        """Of all bundles."""
        return sorted(self._entries)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise TrustBundleNotFound(name=name)
        return entry

    def _view(self, name: str) -> TrustBundleView:
        entry = self._entries[name]
        found, now = entry.holder.get(), self._clock.now()
        return TrustBundleView(
            name=name,
            use=entry.use,
            path=str(found.path),
            loaded_at=found.loaded_at,
            anchors=[
                TrustAnchorView(
                    subject=anchor.subject,
                    not_after=anchor.not_after,
                    fingerprint_sha256=anchor.fingerprint_sha256,
                    expired=anchor.not_after <= now,
                )
                for anchor in found.anchors
            ],
            warnings=list(found.warnings),
            last_error=entry.last_error,
        )

    @staticmethod
    def _measure(found: TrustSnapshot) -> None:
        first = min(anchor.not_after for anchor in found.anchors)
        _ENDS.labels(found.name).set(first.timestamp())
