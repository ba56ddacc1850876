"""Running notifiers; see ``configured.instances`` for how they are kept and replaced.

Another process's edit arrives by the topic ``routes``.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from certctl_core.contracts.host.guard import CallRecord
from certctl_core.contracts.host.guarded import GuardedNotifier
from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.notifiers import Notifier
from certctl_core.contracts.options import PluginConfig, Reference
from certctl_core.insight.notifications import _store
from certctl_core.insight.notifications._store import NotifierRow
from certctl_core.insight.notifications.errors import NotifierDisabled, NotifierNotFound
from certctl_core.insight.notifications.state import OWNER
from certctl_core.insight.notifications.watcher import Watcher
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.configured import (
    Built,
    ClosableHttp,
    Instances,
    Source,
    Wanted,
    build,
)
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.notifications")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierParts:
    """What instances are made of.

    Attributes:
        kinds: The notifier kinds of the plugin registry.
        units: For the row, the state store and the leases of an instance.
        clock: The time.
        keyring: Opens secrets and seals state.
        http: Makes the HTTP clients of one instance.
        lookup: Gives the text that a secret reference names.
        public_url: Where this installation is reached, or empty.
    """

    kinds: Kinds[type[Notifier]]
    units: UnitOfWorkFactory
    clock: Clock
    keyring: Keyring
    http: Callable[[], ClosableHttp]
    lookup: Callable[[Reference], str]
    public_url: str = ""

    def make(
        self,
        notifier_id: str,
        kind: str,
        config: PluginConfig,
        *,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> RunningNotifier:
        """Construct an instance; nothing is opened or called yet.

        Args:
            notifier_id: Whose.
            kind: Canonical.
            config: Validated; references in it are resolved here.
            on_call: Told about its calls.

        Raises:
            KindUnknown, KindUnavailable: There is no usable class.
            CertctlError: A reference cannot be resolved, or the class refuses the configuration.
        """
        wanted: Wanted[Notifier] = Wanted(
            owner_id=notifier_id,
            kind=kind,
            config=config,
            construct=lambda cls, resolved, context: cls(resolved, context),
            base=Notifier,
            on_call=on_call,
        )
        return RunningNotifier(build(self, OWNER, wanted))


class RunningNotifier(GuardedNotifier):
    """A guarded notifier that can be retired while calls are in flight."""

    def __init__(self, built: Built[Notifier]) -> None:
        super().__init__(built.plugin, built.guard)
        self._built = built

    def retire(self) -> None:
        """Close it when its last call is over; each call ends within its own time budget."""
        has_more = type(self.inner).close is not Notifier.close
        self._built.retire(self.close if has_more else None, on_error=self._not_closed)

    def _not_closed(self, error: CertctlError) -> None:
        _log.warning("notifier.close_failed", notifier_id=self.guard.instance_id, error=error.code)


def notifier_instances(
    parts: NotifierParts, *, load: Callable[[NotifierRow], PluginConfig], watcher: Watcher
) -> Instances[NotifierRow, RunningNotifier]:
    """Notifier id → running notifier; ``NotifierNotFound`` for an id without a row.

    Args:
        parts: What instances are made of.
        load: Row → validated configuration; raises a typed error when it cannot.
        watcher: Told what can be built, what cannot, and about every finished call.
    """

    def find(notifier_id: str) -> NotifierRow | None:
        with parts.units.read() as uow:
            return _store.find(uow, notifier_id)

    return Instances(
        Source(
            find=find,
            build=lambda row: parts.make(row.id, row.kind, load(row), on_call=watcher.called),
            missing=lambda notifier_id: NotifierNotFound(notifier_id=notifier_id),
            on_failure=watcher.cannot_start,
            on_success=watcher.started,
        ),
        clock=parts.clock,
    )


def admit_enabled(row: NotifierRow) -> None:
    """Let only an enabled notifier send.

    Raises:
        NotifierDisabled: It is switched off.
    """
    if not row.enabled:
        raise NotifierDisabled(notifier_id=row.id)
