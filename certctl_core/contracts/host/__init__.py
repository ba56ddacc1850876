"""The host side of plugins: discovery, registry, contexts and the guard around every call."""

from __future__ import annotations

from certctl_core.contracts.host.breaker import Breaker, BreakerState, TokenBucket
from certctl_core.contracts.host.contexts import (
    HostContext,
    MemoryState,
    ProcessLocks,
    plugin_logger,
    product,
)
from certctl_core.contracts.host.discover import (
    Discovered,
    Problem,
    Source,
    discover,
    make_manager,
)
from certctl_core.contracts.host.guard import CallRecord, Guard, Outcome
from certctl_core.contracts.host.guarded import GuardedIssuer, GuardedNotifier
from certctl_core.contracts.host.http import PluginHttp
from certctl_core.contracts.host.observers import (
    EventObservers,
    authorize_login,
    choose_resolver,
)
from certctl_core.contracts.host.registry import (
    Entry,
    Kinds,
    KindUnavailable,
    KindUnknown,
    Observer,
    PluginInfo,
    Registry,
)

__all__ = [
    "Breaker",
    "BreakerState",
    "CallRecord",
    "Discovered",
    "Entry",
    "EventObservers",
    "Guard",
    "GuardedIssuer",
    "GuardedNotifier",
    "HostContext",
    "KindUnavailable",
    "KindUnknown",
    "Kinds",
    "MemoryState",
    "Observer",
    "Outcome",
    "PluginHttp",
    "PluginInfo",
    "Problem",
    "ProcessLocks",
    "Registry",
    "Source",
    "TokenBucket",
    "authorize_login",
    "choose_resolver",
    "discover",
    "make_manager",
    "plugin_logger",
    "product",
]
