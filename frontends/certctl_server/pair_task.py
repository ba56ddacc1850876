"""Look after the TLS pair while the server runs: renew our own, judge a changed one (TLS-3, TLS-6).

Runs in a short-lived child of the parent, which needs no database for itself.
"""

from __future__ import annotations

import socket
from datetime import datetime
from typing import Any

import structlog

from certctl_core.app import Core
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import Event
from certctl_core.kernel.ids import Prefix, seeded_id
from certctl_core.kernel.observability import counter
from certctl_core.people.identity import ConfiguredKey
from certctl_core.values import dataclass
from certctl_server.boot import prepare_pair
from certctl_server.channel import Channel, Is
from certctl_server.child import ChildContext, open_core
from certctl_server.events import ServerPairRefused, ServerPairReloaded
from certctl_server.exits import StartFailure
from certctl_server.own_certificate import RETRY, OwnCertificate
from certctl_server.tls import CheckedPair, HeldPair, TLSPair

RELOADS = counter("certctl_tls_reload_total", "Changes of the server's TLS pair.", ("result",))
_ACTOR = system_actor("server")
_log = structlog.get_logger("certctl.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What the look at the pair gave.

    Attributes:
        digest: SHA-256 of a usable pair's files; empty when it cannot be used.
        renew_at: When to look again, for our own pair.
        is_between: ``ca.crt`` holds a CA only because a pair that goes is of it: look once more
            when nobody meets that pair any more.
    """

    digest: str
    renew_at: datetime | None
    is_between: bool = False

    def to_message(self) -> dict[str, Any]:
        """For the channel to the parent."""
        due = self.renew_at.isoformat() if self.renew_at else None
        return {"digest": self.digest, "renew_at": due, "is_between": self.is_between}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> PairReport:
        """What :meth:`to_message` made."""
        due = message["renew_at"]
        return cls(
            digest=message["digest"],
            renew_at=datetime.fromisoformat(due) if due else None,
            is_between=message["is_between"],
        )


def run_pair_task(
    context: ChildContext,
    channel: Channel,
    *,
    pair: TLSPair | None,
    served: tuple[HeldPair, ...],
    seed: bool,
) -> int:
    """Renew our own pair when it is due, check what is there, and write down what came of it.

    Args:
        context: Settings, clock, metrics.
        channel: Gets one ``result``.
        pair: Where the pair is; None where nothing is served over TLS.
        served: The pair that is served now (the same again is no event), then those that some
            workers still serve until they are replaced.
        seed: Apply the configured API keys and CA files again (SIGHUP).
    """
    with context.metrics():
        core = open_core(context.settings, clock=context.clock, role="task")
        try:
            report = _look(context, core, pair, served=served, seed=seed)
        finally:
            core.close()
    channel.send(**{"is": Is.RESULT, **report.to_message()})
    return 0


def _look(
    context: ChildContext,
    core: Core,
    pair: TLSPair | None,
    *,
    served: tuple[HeldPair, ...],
    seed: bool,
) -> PairReport:
    if seed:
        _seed(core)
    own = OwnCertificate(core)
    renew_at = None
    try:
        # Before a new pair shows: whoever reads the file must be able to verify both.
        own.write_anchors(served=[held.pair for held in served])
        if pair is None:
            return PairReport(digest="", renew_at=None)
        renew_at, found = prepare_pair(own, pair, clock=context.clock)
    except (StartFailure, OSError) as error:
        _refused(core, str(error))
        _log.error("server.tls_pair_refused", reason=str(error))
        is_own = pair is not None and pair.is_own
        return PairReport(digest="", renew_at=context.clock.now() + RETRY if is_own else None)
    if own.refused:
        _refused(core, own.refused)
    digest = pair.digest()
    if all(digest != held.digest for held in served[:1]):
        RELOADS.labels("success").inc()
        _announce(core, found)
    leaving = [held.pair for held in served if held.digest != digest]
    is_between = any(own.missing_anchor(old) is not None for old in leaving)
    return PairReport(digest=digest, renew_at=renew_at, is_between=is_between)


def _refused(core: Core, problem: str) -> None:
    RELOADS.labels("failure").inc()
    _emit(core, ServerPairRefused(resource_id=socket.gethostname(), problem=problem))


def _seed(core: Core) -> None:
    """Apply what a reload may bring to the database: API keys of the settings, CA files."""
    for part, apply in (("api_keys", _apply_keys), ("authorities", Core.reload)):
        try:
            apply(core)
        except CertctlError as error:
            _log.error("server.reload_failed", part=part, code=error.code, **error.data)


def _apply_keys(core: Core) -> None:
    configured = [
        ConfiguredKey(name=item.name, key=item.key, role_id=seeded_id(Prefix.ROLE, item.role))
        for item in core.settings.auth.api_keys
    ]
    with core.units.begin(_ACTOR) as uow:
        core.rooms.keys.apply_configured(uow, configured)


def _announce(core: Core, found: CheckedPair) -> None:
    _emit(
        core,
        ServerPairReloaded(
            resource_id=socket.gethostname(),
            serial_number=found.serial_number,
            not_after=found.not_after.isoformat(),
        ),
    )
    _log.info("server.tls_pair_accepted", serial_number=found.serial_number)


def _emit(core: Core, event: Event) -> None:
    try:
        with core.units.begin(_ACTOR) as uow:
            uow.emit(event)
    except CertctlError as error:
        _log.error("server.audit_failed", code=error.code)
