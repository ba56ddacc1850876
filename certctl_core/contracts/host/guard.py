"""The guard: every call into a plugin goes through one (STYLE §0.3, spec 06 ISS-6, ISS-11, NET-10).

It gives the call a time budget in a worker thread, turns whatever is raised into a typed error,
removes the secrets of the instance from it, opens a circuit breaker when the other side is down, and
counts. A plugin can fail in any way; the caller sees a ``CertctlError`` and nothing else.
"""

from __future__ import annotations

import contextvars
import json
import ssl
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import structlog
from pydantic import ValidationError

from certctl_core.contracts.errors import (
    BreakerOpen,
    ErrorClass,
    PluginError,
    PluginFailed,
    TrustError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from certctl_core.contracts.host.breaker import Breaker, BreakerState, TokenBucket
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Redactor, Secret
from certctl_core.values import dataclass

Result = TypeVar("Result")

DEFAULT_CONCURRENCY = 4
MAX_TRACEBACK = 4000

_log = structlog.get_logger("certctl.plugins")


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    FAILED = "failed"
    ABANDONED = "abandoned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, for counters and health pages; holds no content.

    Attributes:
        plugin: Kind.
        instance_id: Row id; empty for kinds without rows.
        what: The operation.
        outcome: ``REFUSED`` was not called at all, ``ABANDONED`` exceeded its budget.
        error_class: None when ok.
        at: When it ended.
        duration: How long it took.
    """

    plugin: str
    instance_id: str
    what: str
    outcome: Outcome
    error_class: ErrorClass | None
    at: datetime
    duration: timedelta


class Guard:
    """Guards the calls of one plugin instance. Safe for threads.

    Args:
        plugin: Kind, for logs and errors.
        clock: The time.
        instance_id: Row id of the instance, if it has one.
        known: Secret values of the instance; removed from every error and log line.
        concurrency: Calls at once; others wait within their budget.
        bucket: An additional rate limit.
        on_call: Told about each finished call; must not raise.
        inline: Run calls in the caller's thread, without budget: for our own built-ins, which do
            not leave the process.
    """

    def __init__(
        self,
        plugin: str,
        *,
        clock: Clock,
        instance_id: str = "",
        known: Iterable[Secret] = (),
        concurrency: int = DEFAULT_CONCURRENCY,
        bucket: TokenBucket | None = None,
        on_call: Callable[[CallRecord], None] | None = None,
        inline: bool = False,
    ) -> None:
        self.plugin = plugin
        self.instance_id = instance_id
        self._clock = clock
        self._redactor = Redactor(known)
        self._slots = threading.BoundedSemaphore(concurrency)
        self._bucket = bucket
        self._breaker = Breaker(clock)
        self._on_call = on_call
        self._inline = inline

    @property
    def is_inline(self) -> bool:
        """Whether calls run in the caller's thread, without a budget."""
        return self._inline

    @property
    def breaker_state(self) -> BreakerState:
        """Whether calls go through."""
        return self._breaker.state

    def call(
        self,
        fn: Callable[[], Result],
        *,
        budget: timedelta,
        what: str,
        expect: type | tuple[type, ...] | None = None,
    ) -> Result:
        """Make one call.

        Args:
            fn: The call; its closure holds the arguments.
            budget: After this long it is abandoned: the thread ends by itself, its result is lost.
            what: Name of the operation, for errors, logs and counters.
            expect: Types the result must have.

        Returns:
            What ``fn`` returned.

        Raises:
            PluginError: Typed, without secrets and without the original as cause. Other
                ``CertctlError`` of our own built-ins pass, redacted, too.
        """
        started = self._clock.monotonic()
        try:
            self._breaker.admit()
            if self._bucket is not None:
                self._bucket.admit()
        except PluginError as refusal:
            self._note(what, Outcome.REFUSED, refusal, started)
            raise
        try:
            result = fn() if self._inline else self._in_thread(fn, budget, what)
            if expect is not None and not isinstance(result, expect):
                reason = f"returned {type(result).__name__}"
                raise PluginFailed(plugin=self.plugin, what=what, reason=reason)  # noqa: TRY301
        except BaseException as raised:
            if self._inline and isinstance(raised, KeyboardInterrupt):
                raise
            error = self._typed(raised, what)
            if isinstance(error, UpstreamUnavailable) and not isinstance(error, BreakerOpen):
                self._breaker.failed()
            else:
                self._breaker.succeeded()
            abandoned = error.data.get("abandoned") is True
            self._note(what, Outcome.ABANDONED if abandoned else Outcome.FAILED, error, started)
            raise error from None
        self._breaker.succeeded()
        self._note(what, Outcome.OK, None, started)
        return result

    def redact(self, text: str) -> str:
        """The text without the secrets of the instance."""
        return self._redactor.text(text)

    def _in_thread(self, fn: Callable[[], Result], budget: timedelta, what: str) -> Result:
        seconds = budget.total_seconds()
        if not self._slots.acquire(timeout=seconds):
            raise UpstreamTimeout(reason=f"{what} waited for a free slot for {seconds:g} s")
        box: list[Result] = []
        failure: list[BaseException] = []
        done = threading.Event()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                box.append(context.run(fn))
            except BaseException as error:  # noqa: BLE001 - handed to the caller below
                failure.append(error)
            finally:
                self._slots.release()
                done.set()

        # A thread of its own: an abandoned call must not take a pool's place from others.
        thread = threading.Thread(target=work, name=f"plugin-{self.plugin}-{what}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._slots.release()
            raise
        if not done.wait(seconds):
            raise UpstreamTimeout(reason=f"{what} took longer than {seconds:g} s", abandoned=True)
        if failure:
            raise failure[0]
        return box[0]

    def _typed(self, raised: BaseException, what: str) -> CertctlError:
        if isinstance(raised, CertctlError):
            error = raised
        else:
            error = _translate(raised) or self._unexpected(raised, what)
        self._clean(error)
        return error

    def _unexpected(self, raised: BaseException, what: str) -> PluginFailed:
        lines = "".join(traceback.format_exception(raised))[-MAX_TRACEBACK:]
        _log.error(
            "plugin_failed",
            plugin=self.plugin,
            instance_id=self.instance_id,
            operation=what,
            error=type(raised).__name__,
            trace=self._redactor.text(lines),
        )
        reason = f"{type(raised).__name__}: {raised}"
        return PluginFailed(plugin=self.plugin, what=what, reason=reason)

    def _clean(self, error: CertctlError) -> None:
        """Take the secrets out of an error, and the original that may hold them from behind it."""
        text = self._redactor.text
        error.data = {
            name: text(value) if isinstance(value, str) else value
            for name, value in error.data.items()
        }
        error.log = {
            name: text(value) if isinstance(value, str) else self._redactor.value(value)[0]
            for name, value in error.log.items()
        }
        error.fields = tuple(replace(item, message=text(item.message)) for item in error.fields)
        error.args = (error.detail,)
        error.__cause__ = None
        error.__context__ = None
        error.__traceback__ = None

    def _note(
        self, what: str, outcome: Outcome, error: CertctlError | None, started: float
    ) -> None:
        if self._on_call is None:
            return
        error_class = None
        if error is not None:
            error_class = error.error_class if isinstance(error, PluginError) else ErrorClass.OTHER
        self._on_call(
            CallRecord(
                plugin=self.plugin,
                instance_id=self.instance_id,
                what=what,
                outcome=outcome,
                error_class=error_class,
                at=self._clock.now(),
                duration=timedelta(seconds=max(0.0, self._clock.monotonic() - started)),
            )
        )


def _translate(raised: BaseException) -> PluginError | None:
    """The typed error of a well-known foreign exception; None for anything unexpected.

    The text of the original is left out: it may quote what was sent.
    """
    name = type(raised).__name__
    if isinstance(raised, TimeoutError):
        return UpstreamTimeout(reason=f"no answer in time ({name})")
    if isinstance(raised, ssl.SSLCertVerificationError):
        said = getattr(raised, "verify_message", "")
        return TrustError(reason=said or "the certificate does not verify")
    if isinstance(raised, ssl.SSLError | ConnectionError):
        return UpstreamUnavailable(reason=f"the connection failed ({name})")
    if isinstance(raised, OSError) and name in {"gaierror", "herror"}:
        return UpstreamUnavailable(reason="the host name cannot be resolved")
    if isinstance(raised, json.JSONDecodeError | ValidationError):
        return UpstreamProtocolError(reason=f"the answer has another form ({name})")
    return None
