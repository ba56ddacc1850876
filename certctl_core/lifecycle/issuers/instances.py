"""Running issuers; see ``configured.instances`` for how they are kept and replaced.

Another process's edit arrives by the topic ``issuers`` (06 REG-3).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from certctl_core.contracts.host.guard import CallRecord
from certctl_core.contracts.host.guarded import GuardedIssuer
from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.issuers import Issuer
from certctl_core.contracts.options import PluginConfig, Reference
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
from certctl_core.lifecycle.issuers import _store
from certctl_core.lifecycle.issuers._store import IssuerRow
from certctl_core.lifecycle.issuers.errors import IssuerNotFound
from certctl_core.lifecycle.issuers.state import OWNER
from certctl_core.lifecycle.issuers.watcher import Watcher
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.issuers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What instances are made of.

    Attributes:
        kinds: The issuer kinds of the plugin registry.
        units: For the row, the state store and the leases of an instance.
        clock: The time.
        keyring: Opens secrets and seals state.
        http: Makes the HTTP clients of one instance.
        lookup: Gives the text that a secret reference names.
        public_url: Where this installation is reached, or empty.
        inline_kinds: Our own kinds that do not leave the process: no thread, no time budget.
        on_call: Told about every call to an issuer.
    """

    kinds: Kinds[type[Issuer]]
    units: UnitOfWorkFactory
    clock: Clock
    keyring: Keyring
    http: Callable[[], ClosableHttp]
    lookup: Callable[[Reference], str]
    public_url: str = ""
    inline_kinds: frozenset[str] = frozenset({"local"})
    on_call: Callable[[CallRecord], None] | None = None

    def make(
        self,
        issuer_id: str,
        kind: str,
        config: PluginConfig,
        *,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> RunningIssuer:
        """Construct an instance; nothing is opened or called yet.

        Args:
            issuer_id: Whose.
            kind: Canonical.
            config: Validated; references in it are resolved here.
            on_call: Told about its calls; ``Parts.on_call`` unless given.

        Raises:
            KindUnknown, KindUnavailable: There is no usable class.
            CertctlError: A reference cannot be resolved, or the class refuses the configuration.
        """
        wanted: Wanted[Issuer] = Wanted(
            owner_id=issuer_id,
            kind=kind,
            config=config,
            construct=lambda cls, resolved, context: cls(resolved, context),
            base=Issuer,
            inline=kind in self.inline_kinds,
            on_call=on_call or self.on_call,
        )
        return RunningIssuer(build(self, OWNER, wanted))


class RunningIssuer(GuardedIssuer):
    """A guarded issuer that can be retired while calls are in flight."""

    def __init__(self, built: Built[Issuer]) -> None:
        super().__init__(built.plugin, built.guard)
        self._built = built

    def retire(self) -> None:
        """Close it when its last call is over; each call ends within its own time budget."""
        has_more = type(self.inner).close is not Issuer.close
        self._built.retire(self.close if has_more else None, on_error=self._not_closed)

    def _not_closed(self, error: CertctlError) -> None:
        _log.warning("issuer.close_failed", issuer_id=self.guard.instance_id, error=error.code)


def issuer_instances(
    parts: Parts, *, load: Callable[[IssuerRow], PluginConfig], watcher: Watcher
) -> Instances[IssuerRow, RunningIssuer]:
    """Issuer id → running issuer; ``IssuerNotFound`` for an id without a row.

    Args:
        parts: What instances are made of.
        load: Row → validated configuration; raises a typed error when it cannot.
        watcher: Told what can be built, what cannot, and about every finished call.
    """

    def find(issuer_id: str) -> IssuerRow | None:
        with parts.units.read() as uow:
            return _store.find(uow, issuer_id)

    return Instances(
        Source(
            find=find,
            build=lambda row: parts.make(row.id, row.kind, load(row), on_call=watcher.called),
            missing=lambda issuer_id: IssuerNotFound(issuer_id=issuer_id),
            on_failure=watcher.cannot_start,
            on_success=watcher.started,
        ),
        clock=parts.clock,
    )
