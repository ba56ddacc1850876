"""Discovery and registry: good plugins work, bad ones are listed and harm nobody (06 PLG-2…4)."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
import textwrap
from pathlib import Path

import pytest

from certctl_core.contracts.host import KindUnavailable, KindUnknown, Registry, discover
from certctl_core.contracts.host.discover import HOOK_MODULES, make_manager
from certctl_core.contracts.issuers import Cap, CheckReport, Issued, Issuer, IssueRequest
from certctl_core.contracts.plugin import hookimpl

HEADER = """
from certctl_core.contracts.issuers import *
from certctl_core.contracts.notifiers import *
from certctl_core.contracts.plugin import hookimpl

class Good(Issuer):
    kind, title, api_version = "KIND", "Good CA", 1
    aliases = ("OldName",)
    capabilities = frozenset({Cap.TTL})
    def test(self): return CheckReport()
    def submit(self, req): return Issued(leaf="x")

def hook(*classes):
    @hookimpl
    def certctl_issuers():
        return list(classes)
    return certctl_issuers
"""


class Installed:
    """Distributions in a folder, as pip would leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, modules: dict[str, str], version: str = "1.0") -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{module} = {module}\n" for module in modules)
        (info / "entry_points.txt").write_text(f"[certctl.plugins]\n{lines}")
        for module, body in modules.items():
            source = HEADER.replace("KIND", module.replace("_", "-")) + textwrap.dedent(body)
            (self.folder / f"{module}.py").write_text(source)

    def entry_points(self):
        return [
            (entry_point, distribution)
            for distribution in importlib.metadata.distributions(path=[str(self.folder)])
            for entry_point in distribution.entry_points
        ]

    def registry(self, **options) -> Registry:
        return Registry(discover(entry_points=self.entry_points(), **options))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Installed(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


class BuiltinIssuer(Issuer):
    kind, title, api_version = "local", "Local CA", 1
    aliases = ("GenericCA", "local_ca")
    capabilities = frozenset({Cap.CA_CHAIN})

    def test(self):
        return CheckReport()

    def submit(self, req: IssueRequest):
        return Issued(leaf="x")

    def ca_chain(self):
        return []


class Builtins:
    @hookimpl
    def certctl_issuers(self):
        return [BuiltinIssuer]


BUILTINS = [("local", Builtins())]


def info_of(registry, kind):
    return next(info for info in registry.describe() if info.kind == kind)


@pytest.mark.spec("06/PLG-2")
def test_entry_points_and_builtins_are_registered(installed):
    installed.add("widgets-ca", {"widgets": "certctl_issuers = hook(Good)"}, version="2.5")
    registry = installed.registry(builtins=BUILTINS)
    assert list(registry.issuers) == ["local", "widgets"]
    assert registry.issuers.require("widgets").title == "Good CA"
    info = info_of(registry, "widgets")
    assert (info.distribution, info.version, info.hook) == ("widgets-ca", "2.5", "certctl_issuers")
    assert (info.available, info.capabilities) == (True, ("TTL",))
    assert info_of(registry, "local").distribution == "certctl"


@pytest.mark.spec("06/PLG-3")
def test_aliases_are_accepted_without_case_and_answered_canonically(installed):
    registry = installed.registry(builtins=BUILTINS)
    for name in ("local", "GENERICca", "Local_CA"):
        assert registry.issuers.canonical(name) == "local"
        assert registry.issuers.require(name) is BuiltinIssuer
    with pytest.raises(KindUnknown):
        registry.issuers.require("vault")


@pytest.mark.spec("06/PLG-4")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import a_module_that_is_not_there", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("raise ValueError('https://u:pw-secret@h/')", "REDACTED"),
        ("x = 1", "implements no hook"),
        (
            """
            @hookimpl
            def certctl_isuers(): return []
            """,
            "unknown hook 'certctl_isuers'; did you mean 'certctl_issuers'?",
        ),
        (
            """
            @hookimpl
            def certctl_issuers(surprise): return []
            """,
            "surprise",
        ),
        (
            """
            @hookimpl
            def certctl_issuers(): raise RuntimeError("no luck")
            """,
            "certctl_issuers() failed: RuntimeError: no luck",
        ),
        (
            """
            @hookimpl
            def certctl_issuers(): return 7
            """,
            "certctl_issuers() failed",
        ),
        ("Good.api_version = 2; certctl_issuers = hook(Good)", "version 2"),
        ("del Good.api_version; certctl_issuers = hook(Good)", "version None"),
        ("Good.kind = 'Bad Kind'; certctl_issuers = hook(Good)", "kind must match"),
        ("Good.title = ''; certctl_issuers = hook(Good)", "no title"),
        ("Good.Config = dict; certctl_issuers = hook(Good)", "no PluginConfig"),
        (
            """
            from certctl_core.contracts.options import PluginConfig
            class Settings(PluginConfig):
                place: "NowhereDefined"
            Good.Config = Settings
            certctl_issuers = hook(Good)
            """,
            "its Config cannot be built: PydanticUndefinedAnnotation",
        ),
        ("certctl_issuers = hook(dict)", "dict is no Issuer"),
        ("certctl_issuers = hook(Good(None, None))", "Good is no Issuer"),
        (
            """
            class Half(Issuer):
                kind, title, api_version = "half", "Half", 1
                def test(self): return CheckReport()
            certctl_issuers = hook(Half)
            """,
            "does not implement: submit",
        ),
        (
            "Good.capabilities = frozenset({Cap.REVOKE}); certctl_issuers = hook(Good)",
            "declares REVOKE but has no revoke()",
        ),
        (
            "Good.packages = ('no_such_sdk',); Good.extra = 'cloud'; certctl_issuers = hook(Good)",
            "needs no_such_sdk: pip install 'certctl[cloud]'",
        ),
    ],
    ids=lambda value: value[:24] if "\n" not in value else None,
)
def test_broken_plugin_is_listed_with_its_reason_and_harms_nobody(installed, body, reason):
    installed.add("a-broken-one", {"broken": body})
    installed.add("widgets-ca", {"widgets": "certctl_issuers = hook(Good)"})
    registry = installed.registry(builtins=BUILTINS)
    bad = [info for info in registry.describe() if not info.available]
    assert len(bad) == 1
    assert reason in bad[0].error
    assert bad[0].distribution == "a-broken-one"
    assert "pw-secret" not in bad[0].error
    assert {"local", "widgets"} <= set(registry.issuers)
    assert registry.issuers.require("widgets")


@pytest.mark.spec("07/PLG-03")
def test_missing_package_keeps_the_kind_known_but_unusable(installed):
    installed.add("x", {"cloud": "Good.packages = ('nope',); certctl_issuers = hook(Good)"})
    registry = installed.registry()
    with pytest.raises(KindUnavailable) as caught:
        registry.issuers.require("cloud")
    assert "needs nope" in caught.value.detail


@pytest.mark.spec("06/PLG-3")
def test_third_party_never_shadows_a_first_party_kind(installed):
    installed.add("aaa-evil", {"evil": "Good.kind = 'local'; certctl_issuers = hook(Good)"})
    registry = installed.registry(builtins=BUILTINS)
    assert registry.issuers.require("local") is BuiltinIssuer
    infos = [info for info in registry.describe() if info.kind == "local"]
    assert [info.available for info in infos] == [True, False]
    assert "which certctl" in infos[1].error


def test_third_party_alias_never_captures_a_kind(installed):
    installed.add("evil", {"evil": "Good.aliases = ('local',); certctl_issuers = hook(Good)"})
    registry = installed.registry(builtins=BUILTINS)
    assert registry.issuers.require("local") is BuiltinIssuer


@pytest.mark.spec("06/PLG-2")
def test_disabled_plugins_are_not_even_imported(installed):
    installed.add("widgets-ca", {"widgets": "raise RuntimeError", "other": "raise RuntimeError"})
    registry = installed.registry(
        builtins=BUILTINS, disabled={"widgets", "widgets-ca:other", "local"}
    )
    assert len(registry.issuers) == 0
    assert {info.error for info in registry.describe()} == {
        "is disabled by CERTCTL_PLUGINS_DISABLED"
    }
    assert "widgets" not in sys.modules


def test_observers_may_ask_for_fewer_arguments(installed):
    body = """
    seen = []
    @hookimpl
    def certctl_event(event): seen.append(event)
    """
    installed.add("watcher", {"watcher": body})
    registry = installed.registry()
    (observer,) = registry.event_observers
    observer.call(event="e")
    assert sys.modules["watcher"].seen == ["e"]
    assert info_of(registry, "watcher").hook == "certctl_event"


def test_same_distribution_found_twice_counts_once(installed):
    installed.add("widgets-ca", {"widgets": "certctl_issuers = hook(Good)"})
    found = installed.entry_points()
    registry = Registry(discover(entry_points=[*found, *found]))
    assert [info.available for info in registry.describe()] == [True]


def test_installed_plugins_all_load():
    registry = Registry.load()
    assert [info for info in registry.describe() if not info.available] == []
    assert {"file", "memory"} <= set(registry.signers)
    assert "webhook" in registry.notifiers


HOOKS = {
    "certctl_issuers",
    "certctl_signers",
    "certctl_identity_provider_types",
    "certctl_notifiers",
    "certctl_enrollment_protocols",
    "certctl_acme_challenge_validators",
    "certctl_scep_challenge_validators",
    "certctl_device_compliance",
    "certctl_targets",
    "certctl_discovery_sources",
    "certctl_secret_sources",
    "certctl_key_wrappers",
    "certctl_dns_providers",
    "certctl_dns_resolver",
    "certctl_authorize_login",
    "certctl_event",
}


def test_hook_vocabulary_is_exactly_the_documented_one():
    manager = make_manager()
    assert {name for name in vars(manager.hook) if not name.startswith("_")} == HOOKS


def test_every_hook_says_when_it_is_called():
    for module in HOOK_MODULES:
        for name, function in vars(module).items():
            if name in HOOKS:
                assert "Called " in (inspect.getdoc(function) or ""), name
