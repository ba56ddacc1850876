"""The delivery worker: a lane of threads for each notifier, so that a stuck one delays no other.

A run looks which notifiers have something due, gives each a thread, and returns. A thread claims a
few deliveries under a lease, sends them one after the other, stores each outcome in a transaction of
its own, and ends when nothing is left. If the process dies in between, the lease ends and another
one sends again: at least once, with at most the delivery in hand twice (06 NTF-4, NTF-5).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import timedelta

import structlog

from certctl_core.contracts.errors import (
    BreakerOpen,
    PluginError,
    TrustError,
    UpstreamGone,
    UpstreamRateLimited,
    safe_text,
)
from certctl_core.contracts.notifiers import AlertState, Delivered, NCap
from certctl_core.insight.notifications import _store, queue
from certctl_core.insight.notifications.aggregate import refresh
from certctl_core.insight.notifications.errors import NotifierDisabled, NotifierNotFound
from certctl_core.insight.notifications.events import (
    NotificationDead,
    NotificationSent,
    NotificationSuppressed,
    NotifierDeadLetter,
)
from certctl_core.insight.notifications.inbox import NotificationService
from certctl_core.insight.notifications.instances import RunningNotifier
from certctl_core.insight.notifications.messages import message_of
from certctl_core.insight.notifications.rules import UNAVAILABLE_RETRY, backoff
from certctl_core.insight.notifications.service import NotifierService
from certctl_core.insight.notifications.types import Claimed, DeliveryState, Outcome, Reason
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import counter, gauge, histogram
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.notifications")
_ACTOR = system_actor("notify")

DELIVERIES = counter(
    "certctl_notification_deliveries_total", "Attempts to deliver.", ("kind", "result")
)
SECONDS = histogram(
    "certctl_notification_delivery_seconds",
    "Time of one attempt.",
    ("kind",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
DEAD_TOTAL = counter("certctl_notification_dead_total", "Deliveries that were given up.")
DEAD = gauge("certctl_notification_dead", "Deliveries that wait to be sent again by a person.")
QUEUE = gauge("certctl_notification_queue", "Deliveries that are not at an end.", ("state",))
OLDEST = gauge("certctl_notification_oldest_seconds", "Age of the oldest open delivery.")

_BATCH = 5
"""Few, so that a backlog spreads over the threads of a lane and the lease outlives the batch."""
_SEND_SECONDS = 65
"""What one send may take at worst: waiting for a slot and sending, 30 seconds each."""
_MEASURE_SECONDS = 15.0
_DEAD_LETTER_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """How deliveries are made.

    Attributes:
        max_attempts: Then a delivery is given up.
        lease: How long a claimed delivery stays with its process.
        concurrency: Threads per notifier.
    """

    max_attempts: int = 8
    lease: timedelta = timedelta(seconds=120)
    concurrency: int = 4


class DeliveryWorker:
    """Sends what is due. One per process; safe for threads.

    Args:
        units: Opens the transactions.
        clock: The time.
        notifiers: Gives the running notifiers.
        inbox: Knows the figures.
        holder: Who claims: unique among all running processes.
        rules: How deliveries are made.
        rng: Where jitter comes from.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        clock: Clock,
        notifiers: NotifierService,
        inbox: NotificationService,
        holder: str,
        rules: DeliveryRules | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._units = units
        self._clock = clock
        self._notifiers = notifiers
        self._inbox = inbox
        self._holder = holder
        self._rules = rules or DeliveryRules()
        self._rng = rng or random.SystemRandom()
        self._changed = threading.Condition()
        self._lanes: dict[str, int] = {}
        self._settled = 0
        self._stopping = False
        self._measured = float("-inf")

    def run(self, *, wait: timedelta = timedelta()) -> int:
        """Start sending what is due; the body of the loop ``notify``.

        Args:
            wait: Stay until everything that could be sent was, but not longer than this.

        Returns:
            How many deliveries came to an end, or to another try, since the last call.
        """
        with self._units.read(_ACTOR) as uow:
            due = queue.due_notifiers(uow)
            self._measure(uow)
        for notifier_id in due:
            self._grow(notifier_id)
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._lanes, wait.total_seconds())
            settled, self._settled = self._settled, 0
        return settled

    def stop(self, timeout: timedelta = timedelta(seconds=30)) -> bool:
        """Claim nothing more and wait for what is being sent; for good.

        Returns:
            Whether all of it ended in time. What did not is sent again when its lease ends.
        """
        with self._changed:
            self._stopping = True
            return self._changed.wait_for(lambda: not self._lanes, timeout.total_seconds())

    # -- lanes --------------------------------------------------------------------------------

    def _grow(self, notifier_id: str) -> None:
        """Give a lane one more thread, up to its width."""
        with self._changed:
            width = self._lanes.get(notifier_id, 0)
            if self._stopping or width >= self._rules.concurrency:
                return
            self._lanes[notifier_id] = width + 1
        thread = threading.Thread(
            target=self._work, args=(notifier_id,), name=f"notify-{notifier_id}", daemon=True
        )
        thread.start()

    def _work(self, notifier_id: str) -> None:
        try:
            while not self._stopping and self._turn(notifier_id):
                pass
        except Exception:  # noqa: BLE001 - the border of a lane: the next run tries again
            _log.exception("delivery.lane_failed", notifier_id=notifier_id)
        finally:
            with self._changed:
                width = self._lanes.pop(notifier_id) - 1
                if width:
                    self._lanes[notifier_id] = width
                self._changed.notify_all()

    def _turn(self, notifier_id: str) -> bool:
        """Claim and send one batch; False when the thread may end."""
        with self._units.begin(_ACTOR) as uow:
            batch = queue.claim(
                uow, notifier_id, limit=_BATCH, holder=self._holder, lease=self._rules.lease
            )
        if len(batch) == _BATCH:
            self._grow(notifier_id)
        for position, item in enumerate(batch):
            left = (item.lease_until - self._clock.now()).total_seconds()
            if self._stopping or (position and left < _SEND_SECONDS):
                self._return(batch[position:], timedelta())
                return not self._stopping
            outcome = self._attempt(item)
            self._settle(item, outcome)
            if outcome.state is DeliveryState.RETRYING and not outcome.counts:
                # The notifier cannot be called at the moment; nor could it be for the others.
                self._return(batch[position + 1 :], outcome.delay)
                return False
        return bool(batch)

    def _return(self, items: Sequence[Claimed], delay: timedelta) -> None:
        if items:
            with self._units.begin(_ACTOR) as uow:
                queue.give_back(uow, items, holder=self._holder, delay=delay)

    # -- one delivery -------------------------------------------------------------------------

    def _attempt(self, item: Claimed) -> Outcome:
        try:
            notifier = self._notifiers.instance(item.notifier_id)
        except NotifierDisabled:
            reason = Reason.NOTIFIER_DISABLED
            return Outcome(state=DeliveryState.SUPPRESSED, reason=reason, counts=False)
        except NotifierNotFound:
            reason = Reason.NOTIFIER_DELETED
            return Outcome(state=DeliveryState.CANCELLED, reason=reason, counts=False)
        except CertctlError as error:
            return _again(error, UNAVAILABLE_RETRY, counts=False)
        started = self._clock.monotonic()
        try:
            delivered = self._send(notifier, item)
        except CertctlError as error:
            outcome = self._after(error, item)
        else:
            outcome = Outcome(
                state=DeliveryState.SENT,
                provider_id=safe_text(delivered.provider_id),
                detail=safe_text(delivered.detail),
            )
        SECONDS.labels(notifier.kind).observe(max(0.0, self._clock.monotonic() - started))
        DELIVERIES.labels(notifier.kind, outcome.state.value).inc()
        return outcome

    def _send(self, notifier: RunningNotifier, item: Claimed) -> Delivered:
        message = message_of(item, public_url=self._notifiers.parts.public_url)
        if item.alert is AlertState.RESOLVED and NCap.RESOLVE in notifier.capabilities:
            return notifier.resolve(item.dedup_key, message)
        return notifier.send(message)

    def _after(self, error: CertctlError, item: Claimed) -> Outcome:
        """What a failure means: again later, or never (06 §7, NTF-2)."""
        wait = error.data.get("retry_after")
        if isinstance(error, BreakerOpen):
            pause = wait if isinstance(wait, timedelta) else timedelta(minutes=1)
            return _again(error, pause, counts=False)
        is_temporary = isinstance(error, TrustError) or bool(getattr(error, "retryable", False))
        if not is_temporary or item.attempts >= self._rules.max_attempts:
            return Outcome(
                state=DeliveryState.DEAD,
                error=safe_text(error.detail),
                error_class=_class_of(error),
                is_gone=isinstance(error, UpstreamGone),
            )
        delay = backoff(item.attempts, self._rng)
        if isinstance(error, UpstreamRateLimited) and error.retry_after is not None:
            delay = error.retry_after
        return _again(error, delay, counts=True)

    def _settle(self, item: Claimed, outcome: Outcome) -> None:
        with self._units.begin(_ACTOR) as uow:
            if not queue.settle(uow, item, outcome, holder=self._holder):
                _log.warning("delivery.lease_lost", delivery_id=item.id)
                return
            refresh(uow, [item.notification_id])
            self._tell(uow, item, outcome)
        with self._changed:
            self._settled += 1
        if outcome.state is DeliveryState.DEAD:
            DEAD_TOTAL.inc()
            _log.error(
                "delivery.dead",
                delivery_id=item.id,
                notifier_id=item.notifier_id,
                error_class=outcome.error_class,
            )

    def _tell(self, uow: Uow, item: Claimed, outcome: Outcome) -> None:
        """Emit what came of it; audit is written from the outcome (06 NTF-9)."""
        about = {"resource_id": item.notification_id, "delivery_id": item.id}
        what = {"notifier_id": item.notifier_id, "event": item.event}
        if outcome.state is DeliveryState.SENT:
            uow.emit(NotificationSent(**about, **what, attempts=item.attempts))
        elif outcome.state is DeliveryState.SUPPRESSED:
            reason = "" if outcome.reason is None else outcome.reason.value
            uow.emit(
                NotificationSuppressed(**about, **what, attempts=item.attempts - 1, reason=reason)
            )
        elif outcome.state is DeliveryState.DEAD:
            uow.emit(
                NotificationDead(
                    **about, **what, attempts=item.attempts, error_class=outcome.error_class
                )
            )
            if outcome.is_gone:
                self._notifiers.switch_off(uow, item.notifier_id, reason=outcome.error)
            self._tell_dead_letter(uow, item, outcome)

    def _tell_dead_letter(self, uow: Uow, item: Claimed, outcome: Outcome) -> None:
        row = _store.take_dead_letter(uow, item.notifier_id, every=_DEAD_LETTER_EVERY)
        if row is not None:
            uow.emit(
                NotifierDeadLetter(
                    resource_id=item.notifier_id,
                    name=row.name,
                    kind=row.kind,
                    notification_id=item.notification_id,
                    event=item.event,
                    error=outcome.error,
                )
            )

    def _measure(self, uow: Uow) -> None:
        now = self._clock.monotonic()
        if now - self._measured < _MEASURE_SECONDS:
            return
        self._measured = now
        for state, number in self._inbox.stats(uow).items():
            cell = DEAD.labels() if state == DeliveryState.DEAD else QUEUE.labels(state)
            cell.set(number)
        oldest = queue.oldest(uow)
        OLDEST.set(0 if oldest is None else max(0.0, (uow.now - oldest).total_seconds()))


def _again(error: CertctlError, delay: timedelta, *, counts: bool) -> Outcome:
    return Outcome(
        state=DeliveryState.RETRYING,
        counts=counts,
        delay=delay,
        error=safe_text(error.detail),
        error_class=_class_of(error),
    )


def _class_of(error: CertctlError) -> str:
    return error.error_class.value if isinstance(error, PluginError) else "other"
