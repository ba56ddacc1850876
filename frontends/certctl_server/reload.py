"""What SIGHUP, a changed TLS file and a new CA bring (spec 02 TRUST-3, DR-29, 08 TLS-3).

The parent only decides; files and database are looked at by a short-lived child. What is bad keeps
its old value, and nothing here ever ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from certctl_core.kernel.config import ConfigError, Settings, specs
from certctl_server.channel import Message
from certctl_server.tls import HeldPair, TLSPair

if TYPE_CHECKING:
    from certctl_server.child import ChildContext
    from certctl_server.supervisor import Supervisor

_log = structlog.get_logger("certctl.server")
POLL_SECONDS = 60.0
_SETTLE_SECONDS = 3.0
"""More than a worker takes to hear that it has to accept no more."""

_RESTARTS_CHILDREN = frozenset({"CERTCTL_CA_CERT_PATH", "CERTCTL_CA_KEY_PATH"})


class _Progress:
    """Says that a reload is done: all processes have answered, and successors serve."""

    def __init__(self, *, is_replacing: bool) -> None:
        self._is_replacing = is_replacing
        self._answers: tuple[list[str], list[str]] | None = None

    def replaced(self) -> None:
        """Every web worker has a successor."""
        self._is_replacing = False
        self._say()

    def answered(self, good: list[str], bad: list[str]) -> None:
        """Every process has taken what is good."""
        self._answers = good, bad
        self._say()

    def _say(self) -> None:
        if self._answers is None or self._is_replacing:
            return
        good, bad = self._answers
        workers = len(good) + len(bad)
        if bad:
            _log.warning("server.reloaded", workers=workers, with_old_values=bad)
        else:
            _log.info("server.reloaded", workers=workers)


class Reloader:
    """Watches the TLS pair and carries out reloads.

    Args:
        context: Its settings are replaced by a reload; children that start later see the new ones.
        load: Reads the settings again.
        held: The pair that is served; None where nothing is served over TLS.
        renew_at: When our own pair is due.
    """

    def __init__(
        self,
        context: ChildContext,
        *,
        load: Callable[[], Settings],
        held: HeldPair | None,
        renew_at: datetime | None,
    ) -> None:
        self._context = context
        self._load = load
        self.held = held
        self._outgoing: list[HeldPair] = []
        self._is_between = False
        self._renew_at = renew_at
        self._stamp = self._files().stamp()
        self._is_looking = False
        self._again: Callable[[], None] | None = None
        self._supervisor: Supervisor | None = None

    def attach(self, supervisor: Supervisor) -> None:
        """Begin to watch; the supervisor is there now."""
        self._supervisor = supervisor
        if self.held is not None:
            supervisor.after(POLL_SECONDS, self._poll)

    def hang_up(self) -> None:
        """SIGHUP: read again whatever may change while the server runs."""
        try:
            newer = self._load()
        except ConfigError as error:
            for problem in error.problems:
                _log.error("server.reload_refused", problem=str(problem))
            newer = self._context.settings
        changes = self._context.settings.changes(newer)
        ignored = [change.name for change in changes if not change.live]
        if ignored:
            _log.warning("server.reload_needs_restart", settings=ignored)
        self._context.settings = with_live_values(self._context.settings, newer)
        _log.info("server.reloading", settings=[item.name for item in changes if item.live])
        self._context.logs.set_level(self._context.settings.logging.level)
        restart = any(item.name in _RESTARTS_CHILDREN for item in changes)
        self._look(seed=True, restart=restart)

    def ca_changed(self) -> None:
        """A child saw that the CA changed: our own pair and ``ca.crt`` follow (02 DR-29)."""
        self._look(seed=False, restart=False)

    # -- the pair -----------------------------------------------------------------------------

    def _files(self) -> TLSPair:
        return TLSPair.of(self._context.settings)

    def _poll(self) -> None:
        supervisor = self._require()
        supervisor.after(POLL_SECONDS, self._poll)
        is_due = self._renew_at is not None and self._context.clock.now() >= self._renew_at
        if is_due or self._files().stamp() != self._stamp:
            self._look(seed=False, restart=False)

    def _look(self, *, seed: bool, restart: bool) -> None:
        """Have a child look at the pair; one at a time, the last request is not forgotten."""
        if self._is_looking:
            if seed or self._again is None:  # a poll does not push out a reload
                self._again = partial(self._look, seed=seed, restart=restart)
            return
        from certctl_server.pair_task import run_pair_task

        self._is_looking = True
        files = self._files()
        self._stamp = files.stamp()
        run = partial(
            run_pair_task,
            self._context,
            pair=None if self.held is None else files,
            served=() if self.held is None else (self.held, *self._outgoing),
            seed=seed,
        )
        done = partial(self._looked, files, is_reload=seed, restart=restart)
        self._require().task("reload", run, done=done)

    def _looked(
        self, files: TLSPair, result: Message | None, *, is_reload: bool, restart: bool
    ) -> None:
        supervisor = self._require()
        self._is_looking = False
        has_new_pair = False
        if result is None:
            _log.error("server.reload_failed", part="task")
        else:
            from certctl_server.pair_task import PairReport

            report = PairReport.from_message(result)
            self._renew_at = report.renew_at
            has_new_pair = self._take(files, report.digest)
            self._is_between = report.is_between
        progress = _Progress(is_replacing=has_new_pair or restart)

        def replaced() -> None:
            self._replaced()
            progress.replaced()

        if has_new_pair or restart:
            supervisor.replace(web_only=not restart, done=replaced)
        if is_reload:
            level = str(self._context.settings.logging.level)
            supervisor.reload(level=level, done=progress.answered)
        if self._again is not None:
            again, self._again = self._again, None
            again()
        elif self._is_between and not self._outgoing:
            self.ca_changed()

    def _replaced(self) -> None:
        """All workers have the new pair; soon nobody meets the old one any more."""
        gone = list(self._outgoing)
        self._require().after(_SETTLE_SECONDS, partial(self._settle, gone))

    def _settle(self, gone: list[HeldPair]) -> None:
        for pair in gone:
            if pair in self._outgoing:
                self._outgoing.remove(pair)
                pair.close()
        if self._is_between and not self._outgoing:
            self.ca_changed()

    def _take(self, files: TLSPair, digest: str) -> bool:
        """Hold the new pair if it is what the child found good; whether there is a new one."""
        if self.held is None or digest in {"", self.held.digest}:
            return False
        try:
            held = HeldPair.read(files)
        except OSError:
            return False  # gone again: the next look says so
        if held.digest != digest:
            held.close()
            return False  # changed again meanwhile: the next look sees it
        self._outgoing.append(self.held)
        self.held = held
        return True

    def _require(self) -> Supervisor:
        assert self._supervisor is not None  # noqa: S101 - attached before anything can happen
        return self._supervisor


def with_live_values(old: Settings, newer: Settings) -> Settings:
    """The old settings with the values of ``newer`` that may change while the server runs."""
    areas: dict[str, dict[str, object]] = {}
    for spec in specs().values():
        if spec.live:
            areas.setdefault(spec.area, {})[spec.field] = spec.value_in(newer)
    update = {area: getattr(old, area).model_copy(update=values) for area, values in areas.items()}
    return old.model_copy(update=update)
