"""The guard: budget, error types, redaction, breaker, counters (06 ISS-6, ISS-11, NET-10, SEC-6)."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import socket
import ssl
import threading
from datetime import timedelta
from typing import Any

import pytest
import structlog

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.errors import (
    AuthError,
    BreakerOpen,
    ErrorClass,
    PluginFailed,
    RequestNotValid,
    RequestRejected,
    TrustError,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from certctl_core.contracts.host import (
    Breaker,
    BreakerState,
    Guard,
    GuardedIssuer,
    Outcome,
    TokenBucket,
)
from certctl_core.contracts.issuers import Cap, Issued, Issuer, IssueRequest, Pending
from certctl_core.kernel.errors import CertctlError, Conflict, FieldError
from certctl_core.kernel.observability import logs as observability
from certctl_core.kernel.secrets import Secret
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

CANARY = "canary-api-key-42"
PATIENCE = timedelta(seconds=PATIENCE_SECONDS)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def guard(clock, calls):
    return Guard("widgets", clock=clock, known=[Secret(CANARY)], on_call=calls.append)


def raiser(error):
    def call():
        raise error

    return call


def run(guard, fn, **options):
    return guard.call(fn, budget=options.pop("budget", PATIENCE), what="submit", **options)


def test_result_and_context_pass_through(guard, calls):
    request = contextvars.ContextVar("request", default="")
    request.set("req-1")
    assert run(guard, request.get) == "req-1"
    assert [(c.what, c.outcome, c.error_class) for c in calls] == [("submit", Outcome.OK, None)]


@pytest.mark.spec("06/ISS-11")
def test_overrun_is_abandoned_and_keeps_its_slot_until_it_ends(clock, calls):
    guard = Guard("widgets", clock=clock, concurrency=1, on_call=calls.append)
    gate = threading.Event()
    with pytest.raises(UpstreamTimeout):
        run(guard, gate.wait, budget=timedelta(milliseconds=30))
    assert (calls[0].outcome, calls[0].error_class) == (Outcome.ABANDONED, ErrorClass.TIMEOUT)
    with pytest.raises(UpstreamTimeout) as caught:
        run(guard, lambda: "in", budget=timedelta(milliseconds=30))
    assert "free slot" in caught.value.detail
    gate.set()
    assert run(guard, lambda: "in") == "in"


@pytest.mark.spec("06/ISS-6", "06/ISS-4")
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (TimeoutError("x"), UpstreamTimeout),
        (ConnectionResetError("x"), UpstreamUnavailable),
        (socket.gaierror(-2, "unknown"), UpstreamUnavailable),
        (ssl.SSLCertVerificationError("x"), TrustError),
        (json.JSONDecodeError("x", CANARY, 0), UpstreamProtocolError),
        (KeyError(CANARY), PluginFailed),
        (SystemExit(3), PluginFailed),
        (KeyboardInterrupt(), PluginFailed),
        (RecursionError(), PluginFailed),
        (AuthError("no"), AuthError),
        (Conflict(), Conflict),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_everything_raised_becomes_typed(guard, calls, raised, expected):
    with pytest.raises(expected) as caught:
        run(guard, raiser(raised))
    assert isinstance(caught.value, CertctlError)
    assert caught.value.__cause__ is None
    assert CANARY not in f"{caught.value} {caught.value.log} {caught.value.data}"
    assert calls[-1].outcome is Outcome.FAILED


@pytest.mark.spec("06/SEC-6")
def test_secrets_are_taken_out_of_errors(guard):
    error = RequestRejected(f"key {CANARY} is unknown", vendor_code=CANARY)
    error.log = {"sent": CANARY, "more": {"a": [CANARY]}}
    with pytest.raises(RequestRejected) as caught:
        run(guard, raiser(error))
    text = f"{caught.value} {caught.value.detail} {caught.value.data} {caught.value.log}"
    assert CANARY not in text
    assert "is unknown" in text
    with pytest.raises(RequestNotValid) as invalid:
        run(guard, raiser(RequestNotValid([FieldError(field="a", message=f"bad {CANARY}")])))
    assert CANARY not in str(invalid.value.fields)


@pytest.fixture
def _logging_is_put_back():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_is_put_back")
def test_trace_of_an_unexpected_failure_is_logged_without_secrets(guard):
    stream = io.StringIO()
    observability.configure(level="debug", form="json", clock=FakeClock(), stream=stream)
    with pytest.raises(PluginFailed):
        run(guard, raiser(ValueError(f"cannot parse {CANARY}")))
    output = stream.getvalue()
    assert "plugin_failed" in output
    assert "ValueError" in output
    assert CANARY not in output


def test_wrong_result_is_the_plugins_failure(guard):
    with pytest.raises(PluginFailed):
        run(guard, lambda: {"ok": True}, expect=CheckReport)


@pytest.mark.spec("06/NET-10")
class TestBreaker:
    def fail(self, guard, times):
        for _ in range(times):
            with pytest.raises(UpstreamUnavailable):
                run(guard, raiser(UpstreamUnavailable("down")))

    def test_opens_after_five_and_fails_fast(self, guard, calls):
        self.fail(guard, 5)
        assert guard.breaker_state is BreakerState.OPEN
        touched = []
        with pytest.raises(BreakerOpen) as caught:
            run(guard, lambda: touched.append(1))
        assert touched == []
        assert calls[-1].outcome is Outcome.REFUSED
        assert caught.value.retryable

    def test_one_trial_closes_it(self, guard, clock):
        self.fail(guard, 5)
        clock.advance(timedelta(seconds=61))
        assert run(guard, lambda: 1) == 1
        assert guard.breaker_state is BreakerState.CLOSED

    def test_failed_trials_double_the_pause_up_to_a_quarter_of_an_hour(self, clock):
        breaker = Breaker(clock)
        for _ in range(5):
            breaker.failed()
        for seconds in (60, 120, 240, 480, 900, 900):
            clock.advance(timedelta(seconds=seconds - 1))
            with pytest.raises(BreakerOpen):
                breaker.admit()
            clock.advance(timedelta(seconds=2))
            breaker.admit()
            with pytest.raises(BreakerOpen):
                breaker.admit()
            breaker.failed()

    def test_refusals_and_old_failures_do_not_count(self, guard, clock):
        self.fail(guard, 4)
        with pytest.raises(RequestRejected):
            run(guard, raiser(RequestRejected("no")))
        self.fail(guard, 4)
        clock.advance(timedelta(minutes=3))
        self.fail(guard, 1)
        assert guard.breaker_state is BreakerState.CLOSED

    def test_lost_trial_does_not_block_for_ever(self, clock):
        breaker = Breaker(clock)
        for _ in range(5):
            breaker.failed()
        clock.advance(timedelta(seconds=61))
        breaker.admit()
        clock.advance(timedelta(minutes=3))
        breaker.admit()


def test_token_bucket_says_when_to_come_back(clock):
    bucket = TokenBucket(clock, rate=0.5, burst=2)
    bucket.admit()
    bucket.admit()
    with pytest.raises(UpstreamRateLimited) as caught:
        bucket.admit()
    assert caught.value.retry_after == timedelta(seconds=2)
    clock.advance(timedelta(seconds=2))
    bucket.admit()


def test_inline_guard_runs_in_the_callers_thread(clock):
    guard = Guard("local", clock=clock, inline=True)
    assert run(guard, threading.get_ident) == threading.get_ident()
    with pytest.raises(PluginFailed):
        run(guard, raiser(ValueError()))


class Widgets(Issuer):
    kind, title, api_version = "widgets", "Widgets", 1
    outcome: object = Issued(leaf="x")

    def test(self):
        raise AuthError("no")

    def submit(self, req):
        return self.outcome


REQUEST = IssueRequest(
    csr_der=b"", csr_pem="", common_name="a.example", idempotency_key="k", tag="t"
)


class TestGuardedIssuer:
    @pytest.fixture
    def issuer(self, guard):
        nothing: Any = None
        return GuardedIssuer(Widgets(nothing, nothing), guard)

    def test_failed_test_is_a_report(self, issuer):
        report = issuer.test()
        assert not report.ok
        assert report.checks[0].name == "auth"

    def test_pending_needs_async(self, issuer):
        assert issuer.submit(REQUEST) == Issued(leaf="x")
        issuer.inner.outcome = Pending(vendor_ref="1")
        with pytest.raises(PluginFailed):
            issuer.submit(REQUEST)
        issuer.inner.outcome = None
        with pytest.raises(PluginFailed):
            issuer.submit(REQUEST)

    @pytest.mark.parametrize(
        ("change", "capability"),
        [
            ({"ip_addresses": ("192.0.2.1",)}, Cap.IP_SAN),
            ({"emails": ("a@example.com",)}, Cap.EMAIL_SAN),
            ({"uris": ("urn:a",)}, Cap.URI_SAN),
            ({"other_names": (("1.2.3", b""),)}, Cap.OTHER_NAME),
            ({"dns_names": ("*.example",)}, Cap.WILDCARD),
            ({"must_staple": True}, Cap.MUST_STAPLE),
            ({"common_name": ""}, Cap.NO_CN),
            ({"ekus": ("clientAuth",)}, Cap.EKU),
        ],
    )
    def test_what_the_issuer_lacks_is_refused_and_never_dropped(self, issuer, change, capability):
        from dataclasses import replace

        request = replace(REQUEST, **change)
        with pytest.raises(RequestNotValid) as caught:
            issuer.submit(request)
        assert caught.value.code == "unsupported_by_issuer"
        assert capability.value in caught.value.detail
        issuer.inner.capabilities = frozenset({capability})
        assert issuer.submit(request)
