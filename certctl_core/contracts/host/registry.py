"""The registry: which kinds there are, which class serves each, and which cannot be used and why.

Each hook implementation is asked on its own, so one that raises takes only its own kinds with it.
Built-ins and our own plugins come first: a third party never shadows them.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import pluggy
import structlog
from typing_extensions import override

from certctl_core.contracts.challenges import (
    ACMEChallengeValidator,
    DeviceCompliance,
    SCEPChallengeValidator,
)
from certctl_core.contracts.discovery import DiscoverySource
from certctl_core.contracts.dns_providers import DNSProvider
from certctl_core.contracts.errors import safe_text
from certctl_core.contracts.host.discover import Discovered, Problem, Source, discover
from certctl_core.contracts.identity import IdentityProviderType
from certctl_core.contracts.issuers import Issuer, capability_gaps
from certctl_core.contracts.key_wrappers import KeyWrapper
from certctl_core.contracts.notifiers import Notifier
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import API_VERSION, KIND
from certctl_core.contracts.protocols import EnrollmentProtocol
from certctl_core.contracts.secret_sources import SecretSource
from certctl_core.contracts.signers import SignerProvider
from certctl_core.contracts.targets import FileTarget
from certctl_core.kernel.errors import NotFound, Unprocessable
from certctl_core.kernel.secrets import redact_text
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.plugins")

Kind = TypeVar("Kind")


class KindUnknown(NotFound):
    """No plugin offers this kind; data: ``hook``, ``kind``."""

    code = "kind_unknown"
    text = "There is no plugin of kind {kind!r}."


class KindUnavailable(Unprocessable):
    """The kind is known and cannot be used here; data: ``kind``, ``reason``."""

    code = "kind_unavailable"
    text = "The plugin {kind!r} cannot be used: {reason}."


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """One line of ``certctl plugins list`` and of the type catalogues.

    Attributes:
        kind: The kind; the plugin's name where no kind is known.
        hook: The hook it was registered through; empty where it did not get so far.
        title: The name a person reads.
        distribution / version: Where it comes from.
        available: Whether it can be used.
        error: Why not; empty when available.
        capabilities: What it can do, sorted.
        aliases: Other accepted names.
    """

    kind: str
    hook: str
    title: str
    distribution: str
    version: str
    available: bool
    error: str = ""
    capabilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[Kind]):
    """One kind.

    Attributes:
        info: Its description.
        plugin: The class (or provider type), also when it is unavailable for want of a package.
    """

    info: PluginInfo
    plugin: Kind


class Kinds(Mapping[str, Entry[Kind]]):
    """The kinds of one hook by canonical name, unavailable ones included.

    Args:
        hook: The hook's name.
        entries: By kind.
    """

    def __init__(self, hook: str, entries: Mapping[str, Entry[Kind]]) -> None:
        self.hook = hook
        self._entries = dict(sorted(entries.items()))
        self._names = {
            alias.lower(): kind
            for kind, entry in self._entries.items()
            for alias in entry.info.aliases
        } | {kind: kind for kind in self._entries}

    @override
    def __getitem__(self, kind: str) -> Entry[Kind]:
        return self._entries[kind]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @override
    def __len__(self) -> int:
        return len(self._entries)

    def canonical(self, name: str) -> str:
        """The kind that a name or alias means, without regard to case.

        Raises:
            KindUnknown: None.
        """
        kind = self._names.get(name.lower())
        if kind is None:
            raise KindUnknown(hook=self.hook, kind=name[:64])
        return kind

    def require(self, name: str) -> Kind:
        """The usable class of a kind or alias.

        Raises:
            KindUnknown: No plugin offers it.
            KindUnavailable: It cannot be used; says why.
        """
        entry = self._entries[self.canonical(name)]
        if not entry.info.available:
            raise KindUnavailable(kind=entry.info.kind, reason=entry.info.error)
        return entry.plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """One implementation of a hook that is called, not listed."""

    source: Source
    call: Callable[..., object]


class Registry:
    """Everything that plugins offer. Filled once at start; read-only and safe for threads after.

    Args:
        found: What ``discover`` found.
    """

    def __init__(self, found: Discovered) -> None:
        self._found = found
        self._problems = list(found.problems)
        self.issuers: Kinds[type[Issuer]] = self._kinds("certctl_issuers", Issuer)
        self.signers: Kinds[type[SignerProvider]] = self._kinds("certctl_signers", SignerProvider)
        self.notifiers: Kinds[type[Notifier]] = self._kinds("certctl_notifiers", Notifier)
        self.identity_provider_types: Kinds[IdentityProviderType] = self._kinds(
            "certctl_identity_provider_types", IdentityProviderType
        )
        self.enrollment_protocols: Kinds[type[EnrollmentProtocol]] = self._kinds(
            "certctl_enrollment_protocols", EnrollmentProtocol
        )
        self.acme_challenge_validators: Kinds[type[ACMEChallengeValidator]] = self._kinds(
            "certctl_acme_challenge_validators", ACMEChallengeValidator
        )
        self.scep_challenge_validators: Kinds[type[SCEPChallengeValidator]] = self._kinds(
            "certctl_scep_challenge_validators", SCEPChallengeValidator
        )
        self.device_compliance: Kinds[type[DeviceCompliance]] = self._kinds(
            "certctl_device_compliance", DeviceCompliance
        )
        self.targets: Kinds[type[FileTarget]] = self._kinds("certctl_targets", FileTarget)
        self.discovery_sources: Kinds[type[DiscoverySource]] = self._kinds(
            "certctl_discovery_sources", DiscoverySource
        )
        self.secret_sources: Kinds[type[SecretSource]] = self._kinds(
            "certctl_secret_sources", SecretSource
        )
        self.key_wrappers: Kinds[type[KeyWrapper]] = self._kinds("certctl_key_wrappers", KeyWrapper)
        self.dns_providers: Kinds[type[DNSProvider]] = self._kinds(
            "certctl_dns_providers", DNSProvider
        )
        self.event_observers = self._observers("certctl_event")
        self.login_authorizers = self._observers("certctl_authorize_login")
        self.dns_resolver_makers = self._observers("certctl_dns_resolver")

    @classmethod
    def load(
        cls, *, builtins: Sequence[tuple[str, object]] = (), disabled: Collection[str] = ()
    ) -> Registry:
        """Discover the installed plugins and register them; never raises for a plugin's fault.

        Args:
            builtins: ``(name, object with hookimpl members)`` of our own.
            disabled: Names that are not loaded.
        """
        return cls(discover(builtins=builtins, disabled=disabled))

    def tables(self) -> tuple[Kinds[Any], ...]:
        """The kinds of every listing hook."""
        return tuple(value for value in vars(self).values() if isinstance(value, Kinds))

    def describe(self) -> list[PluginInfo]:
        """Every kind, observer and failed plugin, sorted by hook and kind."""
        infos = [entry.info for table in self.tables() for entry in table.values()]
        for hook, observers in (
            ("certctl_event", self.event_observers),
            ("certctl_authorize_login", self.login_authorizers),
            ("certctl_dns_resolver", self.dns_resolver_makers),
        ):
            infos.extend(
                PluginInfo(
                    kind=observer.source.name,
                    hook=hook,
                    title=observer.source.name,
                    distribution=observer.source.distribution,
                    version=observer.source.version,
                    available=True,
                )
                for observer in observers
            )
        infos.extend(
            PluginInfo(
                kind=problem.kind or problem.source.name,
                hook=problem.hook,
                title=problem.kind or problem.source.name,
                distribution=problem.source.distribution,
                version=problem.source.version,
                available=False,
                error=problem.error,
            )
            for problem in self._problems
        )
        return sorted(infos, key=lambda info: (info.hook, info.kind, not info.available))

    def _implementations(self, hook: str) -> Iterator[tuple[Source, Callable[..., object]]]:
        caller = getattr(self._found.manager.hook, hook)
        by_name = {item.plugin_name: item for item in caller.get_hookimpls()}
        for name, source in self._found.sources.items():
            implementation: pluggy.HookImpl | None = by_name.get(name)
            if implementation is not None:
                yield source, implementation.function

    def _observers(self, hook: str) -> tuple[Observer, ...]:
        caller = getattr(self._found.manager.hook, hook)
        by_name = {item.plugin_name: item for item in caller.get_hookimpls()}
        return tuple(
            Observer(source=source, call=_with_known_arguments(by_name[name]))
            for name, source in self._found.sources.items()
            if name in by_name
        )

    def _kinds(self, hook: str, base: type) -> Kinds[Any]:
        entries: dict[str, Entry[Any]] = {}
        for source, function in self._implementations(hook):
            try:
                listed = function()
                items = list(cast("Sequence[object]", listed or ()))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
                reason = f"{hook}() failed: {type(error).__name__}: {error}"
                self._problem(Problem(source=source, hook=hook, error=redact_text(reason)))
                continue
            for item in items:
                self._enter(entries, item, source=source, hook=hook, base=base)
        return Kinds(hook, entries)

    def _enter(
        self,
        entries: dict[str, Entry[Any]],
        item: object,
        *,
        source: Source,
        hook: str,
        base: type,
    ) -> None:
        kind = getattr(item, "kind", None)
        label = kind if isinstance(kind, str) else getattr(item, "__name__", "")
        try:
            fault = manifest_fault(item, base)
            if fault is None and not source.is_first_party:
                fault = config_fault(item)
            missing = "" if fault else missing_packages(item)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign class attributes may raise
            fault, missing = f"has an unreadable manifest: {error}", ""
        if fault is None and isinstance(kind, str) and kind in entries:
            other = entries[kind].info
            fault = (
                f"offers the kind {kind!r}, which {other.distribution} {other.version} has already"
            )
        if fault is not None or not isinstance(kind, str):
            error_text = redact_text(fault or "has no kind")
            self._problem(Problem(source=source, hook=hook, kind=str(label), error=error_text))
            return
        info = PluginInfo(
            kind=kind,
            hook=hook,
            title=str(getattr(item, "title", kind)),
            distribution=source.distribution,
            version=source.version,
            available=not missing,
            error=missing,
            capabilities=tuple(sorted(str(c) for c in getattr(item, "capabilities", ()))),
            aliases=tuple(getattr(item, "aliases", ())),
        )
        entries[kind] = Entry(info=info, plugin=item)

    def _problem(self, problem: Problem) -> None:
        clean = Problem(
            source=problem.source,
            hook=problem.hook,
            kind=safe_text(problem.kind, 64),
            error=safe_text(problem.error),
        )
        _log.warning(
            "plugin_unavailable",
            plugin=clean.source.name,
            distribution=clean.source.distribution,
            hook=clean.hook,
            kind=clean.kind,
            error=clean.error,
        )
        self._problems.append(clean)


def manifest_fault(item: object, base: type) -> str | None:
    """What is wrong with the manifest of a class or provider type; None when it is good."""
    name = getattr(item, "__name__", type(item).__name__)
    # Identity providers describe themselves by a value, all other kinds by a class.
    if base is IdentityProviderType:
        fits = isinstance(item, base)
    else:
        fits = isinstance(item, type) and issubclass(item, base)
    if not fits:
        return f"{name} is no {base.__name__}"
    if isinstance(item, type) and inspect.isabstract(item):
        missing = ", ".join(sorted(getattr(item, "__abstractmethods__", ())))
        return f"{name} does not implement: {missing}"
    kind = getattr(item, "kind", None)
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        return f"its kind must match {KIND.pattern}"
    if not isinstance(getattr(item, "title", None), str) or not getattr(item, "title", ""):
        return "it has no title"
    version = getattr(item, "api_version", None)
    if version != API_VERSION:
        return f"it is made for version {version} of the plugin contract, this is {API_VERSION}"
    config = _config_of(item)
    if not (isinstance(config, type) and issubclass(config, PluginConfig)):
        return "its Config is no PluginConfig"
    if isinstance(item, type) and issubclass(item, Issuer) and (gaps := capability_gaps(item)):
        return "; ".join(gaps)
    return None


def _config_of(item: object) -> Any:
    return getattr(item, "Config", getattr(item, "config_model", PluginConfig))


def config_fault(item: object) -> str | None:
    """Why a foreign ``Config`` cannot be used; our own are built when they are needed."""
    config: type[PluginConfig] = _config_of(item)
    try:
        config.model_rebuild()
    except Exception as error:  # noqa: BLE001 - a foreign class may raise anything
        return f"its Config cannot be built: {type(error).__name__}: {error}"
    return None


def missing_packages(item: object) -> str:
    """Which packages of the manifest are not installed, as a sentence with the cure; or empty."""
    needed: tuple[str, ...] = getattr(item, "packages", ())
    missing = [name for name in needed if not _is_installed(name)]
    if not missing:
        return ""
    extra = getattr(item, "extra", "")
    what = f"'certctl[{extra}]'" if extra else " ".join(missing)
    return f"needs {', '.join(missing)}: pip install {what}"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _with_known_arguments(implementation: pluggy.HookImpl) -> Callable[..., object]:
    """Call an implementation with the arguments it asks for; it may ask for fewer."""
    names = implementation.argnames
    function = implementation.function

    def call(**arguments: object) -> object:
        return function(*(arguments[name] for name in names))

    return call
