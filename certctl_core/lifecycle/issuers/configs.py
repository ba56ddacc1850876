"""Configurations of issuers: the kinds, the errors and the views that ``configured`` works with."""

from __future__ import annotations

from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.issuers import Issuer
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.configured import ConfigKeeper, Refusals, Sealer, Unreadable, Views
from certctl_core.lifecycle.issuers.errors import (
    IssuerKindUnavailable,
    IssuerUnavailable,
    UnknownIssuerKind,
)
from certctl_core.lifecycle.issuers.schemas import IssuerKindView, IssuerView, ReportView


def issuer_configs(
    *, kinds: Kinds[type[Issuer]], keyring: Keyring
) -> ConfigKeeper[Issuer, IssuerView, ReportView, IssuerKindView]:
    """The keeper of the issuers' configurations.

    It raises ``UnknownIssuerKind`` and ``IssuerKindUnavailable`` for a kind that cannot be had, and
    ``IssuerUnavailable`` when stored secrets cannot be decrypted (06 SEC-5).
    """
    return ConfigKeeper(
        kinds=kinds,
        sealer=Sealer(keyring, table="issuers", unreadable=_unreadable),
        views=Views(row=IssuerView, report=ReportView, kind=IssuerKindView),
        refusals=Refusals(
            unknown=lambda kind: UnknownIssuerKind(kind=kind),
            unavailable=lambda kind, reason: IssuerKindUnavailable(kind=kind, reason=reason),
        ),
    )


def _unreadable(found: Unreadable) -> IssuerUnavailable:
    return IssuerUnavailable(
        issuer_id=found.row_id, reason=f"cannot decrypt (key id {found.key_id})"
    )
