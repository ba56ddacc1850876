"""Reading a trust bundle again, in every process, with its audit event."""

from __future__ import annotations

from certctl_core.enrollment.trust_bundles.errors import TrustBundleError
from certctl_core.enrollment.trust_bundles.events import (
    TrustBundleReloaded,
    TrustBundleReloadFailed,
)
from certctl_core.enrollment.trust_bundles.schemas import TrustReloadedView
from certctl_core.enrollment.trust_bundles.service import STAMP, TOPIC, TrustBundles
from certctl_core.kernel.actors import Actor, system_actor
from certctl_core.kernel.db import UnitOfWorkFactory


class TrustReloads:
    """The use cases behind the reload operation and SIGHUP."""

    def __init__(self, *, units: UnitOfWorkFactory, bundles: TrustBundles) -> None:
        self._units = units
        self._bundles = bundles

    def reload(self, name: str, *, actor: Actor, request_id: str) -> TrustReloadedView:
        """Read a bundle again, here and in every other process; audited either way.

        Raises:
            TrustBundleNotFound: No such bundle.
            TrustBundleError: The file cannot be used; what was in force stays (04 TB-1).
        """
        try:
            before, after = self._bundles.put_in_force(name)
        except TrustBundleError as error:
            self._tell_failure(name, error, actor, request_id)
            raise
        added = sorted(after.fingerprints - before.fingerprints)
        removed = sorted(before.fingerprints - after.fingerprints)
        with self._units.begin(actor, request_id=request_id) as uow:
            uow.emit(
                TrustBundleReloaded(
                    resource_id=name,
                    path=str(after.path),
                    certificates=len(after.anchors),
                    added=tuple(added),
                    removed=tuple(removed),
                )
            )
            uow.touch(STAMP)
            uow.wake(TOPIC)
        return TrustReloadedView(
            reloaded=True,
            name=name,
            reloaded_at=after.loaded_at,
            certs_loaded=len(after.anchors),
            added=added,
            removed=removed,
            warnings=list(after.warnings),
        )

    def reload_all(self, *, is_audited: bool) -> None:
        """Read every bundle again, each by itself (SIGHUP, 02 TRUST-3).

        Args:
            is_audited: False in all processes but one of those that hear the same signal.

        Raises:
            TrustBundleError: The first failure, after all were tried.
        """
        failures = []
        for name in self._bundles.names():
            try:
                if is_audited:
                    self.reload(name, actor=system_actor("reload"), request_id="")
                else:
                    self._bundles.put_in_force(name)
            except TrustBundleError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _tell_failure(
        self, name: str, error: TrustBundleError, actor: Actor, request_id: str
    ) -> None:
        path = self._bundles.get(name).path
        with self._units.begin(actor, request_id=request_id) as uow:
            uow.emit(
                TrustBundleReloadFailed(
                    resource_id=name,
                    path=str(path),
                    code_of_error=error.code,
                    message=error.detail,
                )
            )
