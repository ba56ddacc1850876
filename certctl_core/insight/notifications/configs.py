"""Configurations of notifiers: the kinds, errors and views that ``configured`` works with."""

from __future__ import annotations

from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.notifiers import Notifier
from certctl_core.insight.notifications.errors import (
    NotifierKindUnavailable,
    NotifierUnavailable,
    UnknownNotifierKind,
)
from certctl_core.insight.notifications.schemas import (
    NotifierKindView,
    NotifierReportView,
    NotifierView,
)
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.configured import ConfigKeeper, Refusals, Sealer, Unreadable, Views


def notifier_configs(
    *, kinds: Kinds[type[Notifier]], keyring: Keyring
) -> ConfigKeeper[Notifier, NotifierView, NotifierReportView, NotifierKindView]:
    """The keeper of the notifiers' configurations.

    It raises ``UnknownNotifierKind`` and ``NotifierKindUnavailable`` for a kind that cannot be had,
    and ``NotifierUnavailable`` when stored secrets cannot be decrypted (06 SEC-5).
    """
    return ConfigKeeper(
        kinds=kinds,
        sealer=Sealer(keyring, table="notifiers", unreadable=_unreadable),
        views=Views(row=NotifierView, report=NotifierReportView, kind=NotifierKindView),
        refusals=Refusals(
            unknown=lambda kind: UnknownNotifierKind(kind=kind),
            unavailable=lambda kind, reason: NotifierKindUnavailable(kind=kind, reason=reason),
        ),
    )


def _unreadable(found: Unreadable) -> NotifierUnavailable:
    return NotifierUnavailable(
        notifier_id=found.row_id, reason=f"cannot decrypt (key id {found.key_id})"
    )
