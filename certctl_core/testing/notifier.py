"""The contract suite of notifiers (spec 06 §7, §14.2).

::

    class TestWebhook(NotifierContract):
        plugin = Webhook

        @pytest.fixture
        def raw_config(self):
            return {"url": "https://hooks.example.com/", "secret": "whsec_…"}

A notifier that does not speak HTTP sets ``uses_http = False`` and gives ``delivered()``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from certctl_core.contracts.errors import (
    OperationNotSupported,
    PluginError,
    PluginFailed,
    UpstreamRateLimited,
)
from certctl_core.contracts.host import Guard, GuardedNotifier
from certctl_core.contracts.http import HttpResponse
from certctl_core.contracts.notifiers import (
    AlertState,
    CertificateFacts,
    CheckReport,
    Delivered,
    IssuerFacts,
    Message,
    NCap,
    Notifier,
    Severity,
)
from certctl_core.contracts.options import PluginConfig, secret_values
from certctl_core.testing.fakes import EPOCH, FakeClock
from certctl_core.testing.plugin_fakes import (
    EXPECTED_ERRORS,
    RETRY_AFTER_SECONDS,
    Failure,
    FakeHTTP,
    SentRequest,
    fake_context,
)
from certctl_core.testing.plugin_suite import PluginContract, live_threads

MESSAGE = Message(
    id="ntf-01",
    delivery_id="nd-01",
    event="certificate.expiring",
    severity=Severity.WARNING,
    title="shop.example.com expires in 7 days",
    text="Renew it, or let certctl do it.",
    facts=(("Common name", "shop.example.com"), ("Owner", "web team")),
    links=(("Certificate", "https://certctl.example.com/ui/certificates/mc-01"),),
    certificate=CertificateFacts(
        id="mc-01",
        name="Shop",
        common_name="shop.example.com",
        serial="0a1b",
        not_after=EPOCH + timedelta(days=7),
        days_left=7,
    ),
    issuer=IssuerFacts(id="iss-local", name="Local CA", kind="local"),
    data={"threshold": "7"},
    recipients=("ops@example.com",),
    dedup_key="certctl/one/mc-01/expiry",
    occurred_at=EPOCH,
)

HOSTILE = {
    "empty": replace(MESSAGE, title="", text="", facts=(), links=(), recipients=()),
    "huge": replace(MESSAGE, title="x" * 120, text="long line\n" * 20_000),
    "markup": replace(MESSAGE, title="<b>&amp; {{ 7*7 }} ${x} %s | `id`", text="\"'\\</script>"),
    "breaks": replace(MESSAGE, title="a\r\nBcc: x@example.com", text="\r\n.\r\n"),
    "unicode": replace(MESSAGE, title="\u202egnp.exe \u200b \U0001f512", text="\ud83d?"[1:]),
    "no_certificate": replace(MESSAGE, certificate=None, issuer=None, data={}),
    "many_recipients": replace(
        MESSAGE, recipients=tuple(f"user{number}@example.com" for number in range(100))
    ),
    "many_facts": replace(MESSAGE, facts=tuple((f"Fact {n}", "v" * 200) for n in range(200))),
}


class NotifierContract(PluginContract):
    """Every notifier must pass this.

    Attributes:
        uses_http: Whether it delivers through ``ctx.http``.
        parses_json: Whether the provider's answer is read as JSON.
    """

    plugin: ClassVar[type[Notifier]]
    base = Notifier
    uses_http: ClassVar[bool] = True
    parses_json: ClassVar[bool] = False

    def answer(self, request: SentRequest) -> HttpResponse:
        """What the provider answers to a good request."""
        del request
        return HttpResponse(status=200)

    @pytest.fixture
    def http(self) -> FakeHTTP:
        """The provider."""
        return FakeHTTP(self.answer)

    @pytest.fixture
    def notifier(self, config: PluginConfig, http: FakeHTTP) -> GuardedNotifier:
        """The notifier behind its guard, as the core calls it."""
        clock = FakeClock()
        context = fake_context(http=http, clock=clock, public_url="https://certctl.example.com")
        guard = Guard(self.plugin.kind, clock=clock, known=secret_values(config))
        notifier = GuardedNotifier(self.plugin(config, context), guard)
        notifier.open()
        return notifier

    def delivered(self, http: FakeHTTP) -> int:
        """How many messages have arrived; override it for a notifier without HTTP."""
        return sum(request.method not in {"GET", "HEAD", "OPTIONS"} for request in http.requests)

    def test_send_delivers_once(self, notifier: GuardedNotifier, http: FakeHTTP) -> None:
        """One call, one message."""
        assert isinstance(notifier.send(MESSAGE), Delivered)
        assert self.delivered(http) == 1

    def test_dry_test_delivers_nothing(self, notifier: GuardedNotifier, http: FakeHTTP) -> None:
        """``test(send=False)`` has no side effect."""
        report = notifier.test(send=False)
        assert isinstance(report, CheckReport)
        assert report.ok
        assert report.checks
        assert self.delivered(http) == 0

    def test_test_message_is_delivered(self, notifier: GuardedNotifier, http: FakeHTTP) -> None:
        """``test(send=True)`` sends one message."""
        assert notifier.test(send=True).ok
        assert self.delivered(http) == 1

    @pytest.mark.parametrize("name", sorted(HOSTILE))
    def test_any_message_is_delivered_or_refused(
        self, notifier: GuardedNotifier, name: str
    ) -> None:
        """Whatever the texts hold, the result is a delivery or a typed error."""
        outcome: Delivered | PluginError
        try:
            outcome = notifier.send(HOSTILE[name])
        except PluginError as error:
            outcome = error
        assert isinstance(outcome, Delivered | PluginError)
        assert not isinstance(outcome, PluginFailed)

    def test_resolve_follows_the_capabilities(
        self, notifier: GuardedNotifier, http: FakeHTTP
    ) -> None:
        """An unknown key resolves; without the capability it is not supported."""
        resolved = replace(MESSAGE, state=AlertState.RESOLVED)
        if NCap.RESOLVE in notifier.capabilities:
            assert isinstance(notifier.resolve("certctl/one/unknown", resolved), Delivered)
        else:
            with pytest.raises(OperationNotSupported):
                notifier.resolve("certctl/one/unknown", resolved)
            assert self.delivered(http) == 0

    @pytest.mark.parametrize("failure", sorted(Failure))
    def test_failure_has_its_type(
        self, notifier: GuardedNotifier, http: FakeHTTP, failure: Failure
    ) -> None:
        """Each failure of the provider is the right error, and holds no secret."""
        if not self.uses_http:
            pytest.skip("does not use HTTP")
        if failure is Failure.BAD_JSON and not self.parses_json:
            pytest.skip("does not read the answer")
        http.failure = failure
        with pytest.raises(EXPECTED_ERRORS[failure]) as caught:
            notifier.send(MESSAGE)
        error = caught.value
        if isinstance(error, UpstreamRateLimited):
            assert error.retry_after == timedelta(seconds=RETRY_AFTER_SECONDS)
        text = f"{error} {error.detail} {error.data} {error.log}"
        for value in secret_values(notifier.inner.config):
            assert value.reveal() not in text
        assert len(http.requests) == 1

    def test_leaves_no_thread_behind(self, config: PluginConfig, http: FakeHTTP) -> None:
        """After ``close`` everything is as before."""
        before = live_threads()
        notifier = self.plugin(config, fake_context(http=http))
        notifier.open()
        notifier.send(MESSAGE)
        notifier.close()
        assert live_threads() <= before
