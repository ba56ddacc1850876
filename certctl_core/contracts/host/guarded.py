"""Issuers and notifiers behind their guard: the same methods, with budgets and checked results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.errors import PluginError, PluginFailed, RequestNotValid
from certctl_core.contracts.host.guard import Guard
from certctl_core.contracts.issuers import (
    CLOSE_BUDGET,
    MAX_TICK,
    MIN_TICK,
    POLL_BUDGET,
    REVOKE_BUDGET,
    SUBMIT_BUDGET,
    TEST_BUDGET,
    Cap,
    CertRef,
    Issued,
    Issuer,
    IssueRequest,
    OrderRef,
    Pending,
    Reason,
    RenewalWindow,
    Revoked,
    RevokePending,
    SetupItem,
    unsupported_needs,
)
from certctl_core.contracts.notifiers import SEND_BUDGET, Delivered, Message, NCap, Notifier
from certctl_core.kernel.errors import FieldError

TICK_BUDGET = timedelta(seconds=60)
_REFUSED = Pending(vendor_ref="refused")


class GuardedIssuer:
    """An issuer whose every call goes through a guard; the methods are those of ``Issuer``.

    Beyond the guard: a request that needs an ability the instance lacks is refused before it is
    sent, and a ``Pending`` from an issuer that does not declare ``ASYNC`` is the plugin's failure.

    Args:
        issuer: The instance.
        guard: Its guard.
    """

    def __init__(self, issuer: Issuer, guard: Guard) -> None:
        self.inner = issuer
        self.guard = guard

    @property
    def kind(self) -> str:
        """The kind."""
        return self.inner.kind

    @property
    def capabilities(self) -> frozenset[Cap]:
        """What this instance can do."""
        return self.guard.call(
            self.inner.effective_capabilities,
            budget=TEST_BUDGET,
            what="effective_capabilities",
            expect=frozenset,
        )

    def test(self) -> CheckReport:
        """Test; a failure becomes a failed check."""
        try:
            return self.guard.call(
                self.inner.test, budget=TEST_BUDGET, what="test", expect=CheckReport
            )
        except PluginError as error:
            return CheckReport.failed(str(error.error_class), error)

    def check_request(self, req: IssueRequest) -> tuple[FieldError, ...]:
        """What is wrong with a request, without sending it."""
        missing = unsupported_needs(req, self.capabilities)
        if missing:
            return missing
        said = self.guard.call(
            lambda: self.inner.validate_request(req), budget=TEST_BUDGET, what="validate_request"
        )
        return tuple(said)

    def submit(self, req: IssueRequest) -> Issued | Pending:
        """Send one order.

        Raises:
            RequestNotValid: It needs what this issuer lacks, or does not fit it.
            PluginError: As the guard types it.
        """
        if self.guard.is_inline:
            return self._submit_inline(req)
        if problems := self.check_request(req):
            raise RequestNotValid(problems)
        return self._outcome("submit", lambda: self.inner.submit(req), SUBMIT_BUDGET)

    def _submit_inline(self, req: IssueRequest) -> Issued | Pending:
        """The same for an issuer of our own, in one call: its answers cost less than a guard."""
        refused: list[FieldError] = []

        def check_and_submit() -> Issued | Pending:
            refused.extend(unsupported_needs(req, self.inner.effective_capabilities()))
            if not refused:
                refused.extend(self.inner.validate_request(req))
            return _REFUSED if refused else self.inner.submit(req)

        result = self.guard.call(
            check_and_submit, budget=SUBMIT_BUDGET, what="submit", expect=(Issued, Pending)
        )
        if refused:
            raise RequestNotValid(refused)
        return self._may_wait(result, "submit")

    def renew(self, req: IssueRequest, previous: CertRef) -> Issued | Pending:
        """Order a successor; errors as ``submit``."""
        if problems := self.check_request(req):
            raise RequestNotValid(problems)
        return self._outcome("renew", lambda: self.inner.renew(req, previous), SUBMIT_BUDGET)

    def poll(self, order: OrderRef) -> Issued | Pending:
        """Ask once how an order stands."""
        return self._outcome("poll", lambda: self.inner.poll(order), POLL_BUDGET)

    def find(self, order: OrderRef) -> Issued | Pending | None:
        """Look a lost order up."""
        return self.guard.call(
            lambda: self.inner.find(order),
            budget=POLL_BUDGET,
            what="find",
            expect=(Issued, Pending, type(None)),
        )

    def cancel(self, order: OrderRef) -> None:
        """Withdraw a pending order."""
        self.guard.call(lambda: self.inner.cancel(order), budget=POLL_BUDGET, what="cancel")

    def revoke(self, cert: CertRef, reason: Reason) -> Revoked | RevokePending:
        """Revoke a certificate."""
        return self.guard.call(
            lambda: self.inner.revoke(cert, reason),
            budget=REVOKE_BUDGET,
            what="revoke",
            expect=(Revoked, RevokePending),
        )

    def poll_revocation(self, vendor_ref: str) -> Revoked | RevokePending:
        """Ask once how a revocation stands."""
        return self.guard.call(
            lambda: self.inner.poll_revocation(vendor_ref),
            budget=POLL_BUDGET,
            what="poll_revocation",
            expect=(Revoked, RevokePending),
        )

    def unhold(self, cert: CertRef) -> None:
        """Take a certificate off hold."""
        self.guard.call(lambda: self.inner.unhold(cert), budget=REVOKE_BUDGET, what="unhold")

    def renewal_info(self, cert: CertRef) -> RenewalWindow | None:
        """When the CA wants it renewed."""
        return self.guard.call(
            lambda: self.inner.renewal_info(cert),
            budget=POLL_BUDGET,
            what="renewal_info",
            expect=(RenewalWindow, type(None)),
        )

    def ca_chain(self) -> list[str]:
        """The CA certificates."""
        return self.guard.call(
            self.inner.ca_chain, budget=POLL_BUDGET, what="ca_chain", expect=list
        )

    def setup_info(self) -> Sequence[SetupItem]:
        """What the operator must put in place."""
        return self.guard.call(self.inner.setup_info, budget=TEST_BUDGET, what="setup_info")

    def open(self) -> None:
        """Make it ready."""
        self.guard.call(self.inner.open, budget=TEST_BUDGET, what="open")

    def close(self) -> None:
        """End it."""
        self.guard.call(self.inner.close, budget=CLOSE_BUDGET, what="close")

    def tick(self) -> timedelta | None:
        """Run the background duty; the delay is clamped to 5 seconds … 24 hours."""
        wait = self.guard.call(
            self.inner.tick, budget=TICK_BUDGET, what="tick", expect=(timedelta, type(None))
        )
        return None if wait is None else max(MIN_TICK, min(wait, MAX_TICK))

    def _outcome(
        self, what: str, fn: Callable[[], Issued | Pending], budget: timedelta
    ) -> Issued | Pending:
        result = self.guard.call(fn, budget=budget, what=what, expect=(Issued, Pending))
        return self._may_wait(result, what)

    def _may_wait(self, result: Issued | Pending, what: str) -> Issued | Pending:
        if isinstance(result, Pending) and (
            Cap.ASYNC not in self.inner.capabilities or not result.vendor_ref
        ):
            reason = "Pending without ASYNC or without vendor_ref"
            raise PluginFailed(plugin=self.kind, what=what, reason=reason)
        return result


class GuardedNotifier:
    """A notifier whose every call goes through a guard; the methods are those of ``Notifier``.

    Args:
        notifier: The instance.
        guard: Its guard.
    """

    def __init__(self, notifier: Notifier, guard: Guard) -> None:
        self.inner = notifier
        self.guard = guard

    @property
    def kind(self) -> str:
        """The kind."""
        return self.inner.kind

    @property
    def capabilities(self) -> frozenset[NCap]:
        """What it can do."""
        return self.inner.capabilities

    def test(self, *, send: bool) -> CheckReport:
        """Try the channel; a failure becomes a failed check."""
        try:
            return self.guard.call(
                lambda: self.inner.test(send=send),
                budget=SEND_BUDGET,
                what="test",
                expect=CheckReport,
            )
        except PluginError as error:
            return CheckReport.failed(str(error.error_class), error)

    def send(self, msg: Message) -> Delivered:
        """Deliver a message, once."""
        return self.guard.call(
            lambda: self.inner.send(msg), budget=SEND_BUDGET, what="send", expect=Delivered
        )

    def resolve(self, dedup_key: str, msg: Message) -> Delivered:
        """Close an alert."""
        return self.guard.call(
            lambda: self.inner.resolve(dedup_key, msg),
            budget=SEND_BUDGET,
            what="resolve",
            expect=Delivered,
        )

    def open(self) -> None:
        """Make it ready."""
        self.guard.call(self.inner.open, budget=SEND_BUDGET, what="open")

    def close(self) -> None:
        """End it."""
        self.guard.call(self.inner.close, budget=CLOSE_BUDGET, what="close")
