"""Each hook, implemented by the smallest plugin that is one, arrives where it belongs."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from certctl_core.contracts.challenges import (
    ACMEChallengeValidator,
    DeviceCompliance,
    IdentifierType,
    SCEPChallengeValidator,
    SCEPVerdict,
    SCEPVerdictLabel,
    ValidationResult,
)
from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.discovery import DiscoverySource
from certctl_core.contracts.dns_providers import DNSProvider
from certctl_core.contracts.host import (
    EventObservers,
    Registry,
    authorize_login,
    choose_resolver,
    discover,
    make_manager,
)
from certctl_core.contracts.identity import (
    Allow,
    Deny,
    ExternalIdentity,
    Flow,
    IdentityProviderType,
    RequestView,
    StepUp,
)
from certctl_core.contracts.issuers import Issued, Issuer
from certctl_core.contracts.key_wrappers import KeyWrapper
from certctl_core.contracts.notifiers import Delivered, Notifier
from certctl_core.contracts.options import PluginConfig, Secret
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.protocols import EnrollmentProtocol, Headers, Response, Route
from certctl_core.contracts.secret_sources import SecretSource
from certctl_core.contracts.signers import SignerProvider
from certctl_core.contracts.targets import FileTarget, Plan, TargetConfig
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.events import Category, Emitted, Event
from certctl_core.testing.fakes import EPOCH, FakeClock
from tests.machine import PATIENCE_SECONDS


class Manifest:
    kind: ClassVar[str] = "smallest"
    title: ClassVar[str] = "Smallest"
    api_version: ClassVar[int] = 1


class SmallIssuer(Manifest, Issuer):
    def test(self):
        return CheckReport()

    def submit(self, req):
        return Issued(leaf="x")


class SmallNotifier(Manifest, Notifier):
    def test(self, *, send):
        return CheckReport()

    def send(self, msg):
        return Delivered()


class SmallSigner(Manifest, SignerProvider):
    def load(self, ref):
        raise NotImplementedError

    def generate(self, algorithm, ref_hint):
        raise NotImplementedError


class SmallProtocol(Manifest, EnrollmentProtocol):
    def routes(self):
        return [Route(path="/x", methods=frozenset({"GET"}), op="x")]

    def handle(self, request):
        return Response()


class SmallValidator(Manifest, ACMEChallengeValidator):
    kind: ClassVar[str] = "http-01"
    identifier_types: ClassVar = frozenset({IdentifierType.DNS})

    def validate(self, ctx):
        return ValidationResult()


class SmallSCEP(Manifest, SCEPChallengeValidator):
    def claims(self, challenge):
        return True

    def check(self, challenge):
        return SCEPVerdict(label=SCEPVerdictLabel.SUCCESS)


class SmallCompliance(Manifest, DeviceCompliance):
    def check(self, claim):
        return True, ""


class SmallTarget(Manifest, FileTarget):
    Config = TargetConfig

    def plan(self, bundle):
        return Plan(files=())


class SmallSource(Manifest, DiscoverySource):
    def check(self):
        return CheckReport()

    def discover(self, since):
        yield from ()


class SmallSecrets(Manifest, SecretSource):
    def test(self):
        return CheckReport()

    def read(self, path):
        return Secret("x")


class SmallWrapper(Manifest, KeyWrapper):
    def test(self):
        return CheckReport()

    def wrap(self, key, *, context):
        return key

    def unwrap(self, wrapped, *, context):
        return wrapped


class SmallDNS(Manifest, DNSProvider):
    def test(self):
        return CheckReport()

    def serves(self, name):
        return True

    def publish(self, record):
        """Done."""

    def remove(self, record):
        """Done."""


def small_identity() -> IdentityProviderType:
    create: Any = None
    return IdentityProviderType(
        kind="smallest",
        api_version=1,
        title="Smallest",
        config_model=PluginConfig,
        flow=Flow.REDIRECT,
        create=create,
    )


def plugin(hook: str, function: Any) -> Registry:
    """A registry with one plugin that implements one hook."""

    class Plugin:
        pass

    setattr(Plugin, hook, staticmethod(hookimpl(function)))
    registry = Registry(discover(builtins=[("small", Plugin())], entry_points=[]))
    assert [info.error for info in registry.describe() if info.error] == []
    return registry


LISTED: dict[str, tuple[str, Any]] = {
    "certctl_issuers": ("issuers", SmallIssuer),
    "certctl_signers": ("signers", SmallSigner),
    "certctl_notifiers": ("notifiers", SmallNotifier),
    "certctl_identity_provider_types": ("identity_provider_types", small_identity()),
    "certctl_enrollment_protocols": ("enrollment_protocols", SmallProtocol),
    "certctl_acme_challenge_validators": ("acme_challenge_validators", SmallValidator),
    "certctl_scep_challenge_validators": ("scep_challenge_validators", SmallSCEP),
    "certctl_device_compliance": ("device_compliance", SmallCompliance),
    "certctl_targets": ("targets", SmallTarget),
    "certctl_discovery_sources": ("discovery_sources", SmallSource),
    "certctl_secret_sources": ("secret_sources", SmallSecrets),
    "certctl_key_wrappers": ("key_wrappers", SmallWrapper),
    "certctl_dns_providers": ("dns_providers", SmallDNS),
}
CALLED = {"certctl_event", "certctl_authorize_login", "certctl_dns_resolver"}


def test_every_hook_is_tested_here():
    manager = make_manager()
    hooks = {name for name in vars(manager.hook) if not name.startswith("_")}
    assert hooks == set(LISTED) | CALLED


@pytest.mark.parametrize("hook", sorted(LISTED))
def test_listed_kind_is_found(hook):
    name, item = LISTED[hook]
    registry = plugin(hook, lambda: [item])
    kinds = getattr(registry, name)
    assert kinds.hook == hook
    assert kinds.require(item.kind) is item
    assert [info.hook for info in registry.describe()] == [hook]


class Happened(Event):
    category = Category.CONFIG
    resource_type = "example"


Happened.tag = "example.happened"  # afterwards, so that it stays out of the product's catalogue


EMITTED = Emitted(
    id="aud-1",
    at=EPOCH,
    actor=SYSTEM,
    request_id="req-1",
    event=Happened(resource_id="ex-1"),
)


class TestEvents:
    def test_observers_see_the_facts_after_one_another(self):
        seen: list[Any] = []
        arrived = threading.Event()

        def observe(event):
            seen.append(event)
            arrived.set()

        observers = EventObservers(
            plugin("certctl_event", observe).event_observers, clock=FakeClock()
        )
        observers(EMITTED)
        assert arrived.wait(PATIENCE_SECONDS)
        observers.close()
        (event,) = seen
        assert (event.tag, event.actor_id, event.resource_id) == (
            "example.happened",
            "system",
            "ex-1",
        )

    def test_failing_observer_harms_neither_events_nor_others(self):
        seen: list[str] = []

        class Two:
            @hookimpl
            def certctl_event(self, event):
                raise SystemExit

        class One:
            @hookimpl
            def certctl_event(self, event):
                seen.append(event.id)

        registry = Registry(discover(builtins=[("a", Two()), ("b", One())], entry_points=[]))
        observers = EventObservers(registry.event_observers, clock=FakeClock())
        observers(EMITTED)
        observers(EMITTED)
        observers.close(timedelta(seconds=PATIENCE_SECONDS))
        assert seen == ["aud-1", "aud-1"]

    def test_without_observers_nothing_runs(self):
        before = set(threading.enumerate())
        observers = EventObservers((), clock=FakeClock())
        observers(EMITTED)
        assert set(threading.enumerate()) <= before
        observers.close()

    def test_stuck_observer_holds_up_nobody(self):
        release = threading.Event()
        registry = plugin("certctl_event", lambda event: release.wait(PATIENCE_SECONDS))  # noqa: ARG005
        observers = EventObservers(registry.event_observers, clock=FakeClock())
        for _ in range(1100):
            observers(EMITTED)
        release.set()
        observers.close(timedelta(seconds=PATIENCE_SECONDS))


class TestLogin:
    @pytest.mark.spec("05/IDP-11")
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (lambda: None, Allow()),
            (Allow, Allow()),
            (lambda: Deny("no"), Deny("no")),
            (lambda: StepUp("mfa"), StepUp("mfa")),
            (lambda: "yes", Deny("small failed: plugin_failed")),
            (lambda: 1 / 0, Deny("small failed: plugin_failed")),
        ],
    )
    def test_first_refusal_wins_and_failure_denies(self, answer, expected):
        registry = plugin("certctl_authorize_login", lambda identity: answer())  # noqa: ARG005
        decision = authorize_login(
            registry.login_authorizers,
            ExternalIdentity(subject="s"),
            RequestView(headers=Headers(), peer_ip="192.0.2.1"),
            clock=FakeClock(),
        )
        assert decision == expected


class TestResolver:
    def test_first_offer_wins_and_failures_are_passed_over(self):
        made = object()

        def maker(result):
            class Maker:
                @hookimpl
                def certctl_dns_resolver(self):
                    return result()

            return Maker()

        builtins = [
            ("a", maker(lambda: 1 / 0)),
            ("b", maker(lambda: None)),
            ("c", maker(lambda: made)),
        ]
        registry = Registry(discover(builtins=builtins, entry_points=[]))
        assert choose_resolver(registry.dns_resolver_makers, clock=FakeClock()) is made
        assert choose_resolver((), clock=FakeClock()) is None
