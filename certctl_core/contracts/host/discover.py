"""Finding plugins: built-in objects first, then entry points, each judged on its own (06 PLG-2…4).

A plugin that does not import, misspells a hook or names an unknown argument is set aside with its
reason; it harms nobody else.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import pluggy
import structlog
from typing_extensions import override

from certctl_core.contracts import (
    challenges,
    discovery,
    dns_providers,
    dns_resolver,
    events,
    identity,
    issuers,
    key_wrappers,
    notifiers,
    protocols,
    secret_sources,
    signers,
    targets,
)
from certctl_core.contracts.errors import safe_text
from certctl_core.contracts.plugin import ENTRY_POINT_GROUP, PROJECT
from certctl_core.kernel.release import VERSION
from certctl_core.kernel.secrets import redact_text
from certctl_core.values import dataclass

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    from pluggy import HookimplOpts, HookspecOpts

HOOK_MODULES: tuple[ModuleType, ...] = (
    challenges,
    discovery,
    dns_providers,
    dns_resolver,
    events,
    identity,
    issuers,
    key_wrappers,
    notifiers,
    protocols,
    secret_sources,
    signers,
    targets,
)

OWN_DISTRIBUTION = "certctl"
HOOK_PREFIX = "certctl_"

_log = structlog.get_logger("certctl.plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a plugin comes from.

    Attributes:
        name: Name of the entry point, or of the built-in.
        distribution: Name of the distribution.
        version: Its version.
        is_first_party: Whether it is ours: ours win over others of the same kind.
    """

    name: str
    distribution: str
    version: str
    is_first_party: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A plugin, or a part of one, that cannot be used, and why; safe to show."""

    source: Source
    error: str
    hook: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What was found: the manager with all good plugins, and the others with their reasons.

    Attributes:
        manager: Registered under unique names, built-ins first.
        sources: Where each comes from, by registered name, in order of registration.
        problems: What was set aside.
    """

    manager: pluggy.PluginManager
    sources: Mapping[str, Source]
    problems: tuple[Problem, ...]


class _Manager(pluggy.PluginManager):
    """One that looks for hooks only where their names say so, not at all that a module holds."""

    @override
    def parse_hookspec_opts(
        self, module_or_class: ModuleType | type, name: str
    ) -> HookspecOpts | None:
        if not name.startswith(HOOK_PREFIX):
            return None
        return super().parse_hookspec_opts(module_or_class, name)

    @override
    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        # Two thirds of what `dir` gives are Python's own; no hook has such a name.
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


def make_manager() -> pluggy.PluginManager:
    """A plugin manager that knows all hooks and no plugin."""
    manager = _Manager(PROJECT)
    for module in HOOK_MODULES:
        manager.add_hookspecs(module)
    return manager


def discover(
    *,
    builtins: Sequence[tuple[str, object]] = (),
    disabled: Collection[str] = (),
    entry_points: Iterable[tuple[EntryPoint, Distribution]] | None = None,
) -> Discovered:
    """Find and register plugins.

    Args:
        builtins: ``(name, object with hookimpl members)`` of our own, registered first.
        disabled: Names (or ``distribution:name``) that are not loaded
            (``CERTCTL_PLUGINS_DISABLED``).
        entry_points: What to look at; the installed distributions unless given.

    Returns:
        Never raises for what a plugin does.
    """
    manager, trial = make_manager(), _Trial()
    sources: dict[str, Source] = {}
    problems: list[Problem] = []

    def take(source: Source, plugin: object) -> None:
        error = trial.fault(plugin)
        name = f"{source.distribution}:{source.name}"
        if error is None and (name in sources or manager.is_registered(plugin)):
            error = "is registered twice"
        if error is not None:
            problems.append(_set_aside(source, error))
            return
        manager.register(plugin, name=name)
        sources[name] = source

    for name, plugin in builtins:
        source = Source(
            name=name,
            distribution=OWN_DISTRIBUTION,
            version=VERSION,
            is_first_party=True,
        )
        if _is_disabled(source, disabled):
            problems.append(Problem(source=source, error=_DISABLED))
        else:
            take(source, plugin)
    for source, entry_point in _ordered(
        installed_entry_points() if entry_points is None else entry_points
    ):
        if _is_disabled(source, disabled):
            problems.append(Problem(source=source, error=_DISABLED))
            continue
        try:
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign module may raise anything
            reason = redact_text(f"cannot be imported: {type(error).__name__}: {error}")
            problems.append(_set_aside(source, reason))
            continue
        take(source, plugin)
    return Discovered(manager=manager, sources=sources, problems=tuple(problems))


_DISABLED = "is disabled by CERTCTL_PLUGINS_DISABLED"


@cache
def installed_entry_points() -> tuple[tuple[EntryPoint, Distribution], ...]:
    """The entry points of our group in all installed distributions, as they were first seen."""
    return tuple(
        (entry_point, distribution)
        for distribution in importlib.metadata.distributions()
        if ENTRY_POINT_GROUP in (distribution.read_text("entry_points.txt") or "")
        for entry_point in distribution.entry_points
        if entry_point.group == ENTRY_POINT_GROUP
    )


def unknown_names(
    disabled: Collection[str],
    *,
    builtins: Collection[str] = (),
    entry_points: Iterable[tuple[EntryPoint, Distribution]] | None = None,
) -> dict[str, str]:
    """Names of ``CERTCTL_PLUGINS_DISABLED`` that no plugin has, each with the most similar one.

    Args:
        disabled: What the setting says.
        builtins: Names of built-in objects.
        entry_points: As of :func:`discover`.

    Returns:
        Unknown name → what may be meant, or "".
    """
    known = [*builtins, *(f"{OWN_DISTRIBUTION}:{name}" for name in builtins)]
    for source, _ in _ordered(installed_entry_points() if entry_points is None else entry_points):
        known += [source.name, f"{source.distribution}:{source.name}"]
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1)), "")
        for name in disabled
        if name not in known
    }


def import_own(*, disabled: Collection[str] = ()) -> None:
    """Import our own plugins ahead of a fork, so that every child finds them loaded.

    Those of others are left to the processes that work with them: what they do when they are
    imported is not known. One that fails is set aside by :func:`discover`, which says why.
    """
    for source, entry_point in _ordered(installed_entry_points()):
        if source.is_first_party and not _is_disabled(source, disabled):
            with suppress(Exception):
                entry_point.load()


def _ordered(
    found: Iterable[tuple[EntryPoint, Distribution]],
) -> list[tuple[Source, EntryPoint]]:
    """Ours first, then the others by name; an entry point that is listed twice counts once."""
    seen: set[tuple[str, str, str]] = set()
    known: dict[Distribution, tuple[str, str]] = {}
    result: list[tuple[Source, EntryPoint]] = []
    for entry_point, distribution in found:
        if distribution not in known:  # its metadata are read and parsed each time
            metadata = distribution.metadata
            known[distribution] = (_normal(metadata["Name"] or ""), metadata["Version"] or "")
        name, version = known[distribution]
        key = (name, entry_point.name, entry_point.value)
        if key in seen:
            continue
        seen.add(key)
        source = Source(
            name=entry_point.name,
            distribution=name,
            version=version,
            is_first_party=name == OWN_DISTRIBUTION,
        )
        result.append((source, entry_point))
    result.sort(key=lambda item: (not item[0].is_first_party, item[0].distribution, item[0].name))
    return result


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _is_disabled(source: Source, disabled: Collection[str]) -> bool:
    return source.name in disabled or f"{source.distribution}:{source.name}" in disabled


class _Trial:
    """Registers plugins on a manager of its own, to see what is wrong with their hooks."""

    def __init__(self) -> None:
        self._manager = make_manager()

    def fault(self, plugin: object) -> str | None:
        """What is wrong with a plugin; None when it is good."""
        manager = self._manager
        try:
            manager.register(plugin, name="candidate")
            callers = manager.get_hookcallers(plugin) or []
        except (Exception, SystemExit) as error:  # noqa: BLE001 - attributes of foreign objects may raise
            self._manager = make_manager()  # nobody knows what the failure left in it
            return safe_text(redact_text(f"cannot be registered: {error}"))
        manager.unregister(plugin)
        for caller in callers:
            if not caller.has_spec():
                known = [name for name in vars(manager.hook) if name.startswith(HOOK_PREFIX)]
                known = [name for name in known if getattr(manager.hook, name).has_spec()]
                near = difflib.get_close_matches(caller.name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                return f"implements an unknown hook {caller.name!r}{hint}"
        if not callers:
            return "implements no hook of certctl"
        return None


def _set_aside(source: Source, error: str) -> Problem:
    problem = Problem(source=source, error=safe_text(error))
    _log.warning(
        "plugin_unavailable",
        plugin=source.name,
        distribution=source.distribution,
        error=problem.error,
    )
    return problem
