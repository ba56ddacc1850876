"""Configurations of plugins: checked, changed with their secrets kept or re-entered, shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar, cast

from pydantic import BaseModel

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.host.registry import Entry, Kinds, KindUnavailable, KindUnknown
from certctl_core.contracts.options import (
    ConfigInvalid,
    PluginConfig,
    SecretNeedsReentry,
    check_reentry,
    config_schema,
    load_config,
    merge_config,
    public_config,
    validate_config,
)
from certctl_core.contracts.plugin import Plugin
from certctl_core.kernel.errors import CertctlError, FieldError
from certctl_core.kernel.events import JSON
from certctl_core.lifecycle.configured.sealing import Sealer
from certctl_core.lifecycle.configured.types import SealedRow, StoredConfig
from certctl_core.values import dataclass

PluginT = TypeVar("PluginT", bound=Plugin)
RowView = TypeVar("RowView", bound=BaseModel)
ReportView = TypeVar("ReportView", bound=BaseModel)
KindView = TypeVar("KindView", bound=BaseModel)
AnyView = TypeVar("AnyView", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Views(Generic[RowView, ReportView, KindView]):
    """How a room shows what it has configured.

    Attributes:
        row: One configured plugin: columns of its row, and of ``title``, ``config`` (public) and
            ``capabilities`` those that it has.
        report: The result of a test: ``ok``, ``checks``, ``duration_ms``.
        kind: One kind of the catalogue.
    """

    row: type[RowView]
    report: type[ReportView]
    kind: type[KindView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The errors of a room for a kind that cannot be had.

    Attributes:
        unknown: Takes the kind that was asked for.
        unavailable: Takes the kind and the reason.
    """

    unknown: Callable[[str], CertctlError]
    unavailable: Callable[[object, object], CertctlError]


class ConfigKeeper(Generic[PluginT, RowView, ReportView, KindView]):
    """Turns the configurations of one room into rows and back.

    Args:
        kinds: The room's kinds in the plugin registry.
        sealer: Takes configurations apart and opens secrets.
        views: How they are shown.
        refusals: The room's errors.
    """

    def __init__(
        self,
        *,
        kinds: Kinds[type[PluginT]],
        sealer: Sealer,
        views: Views[RowView, ReportView, KindView],
        refusals: Refusals,
    ) -> None:
        self._kinds = kinds
        self._sealer = sealer
        self._views = views
        self._refusals = refusals

    def require(self, kind: str) -> type[PluginT]:
        """The usable class of a kind or alias.

        Raises:
            CertctlError: There is none; as ``Refusals`` says.
        """
        try:
            return self._kinds.require(kind)
        except KindUnknown as error:
            raise self._refusals.unknown(kind) from error
        except KindUnavailable as error:
            data = error.data
            raise self._refusals.unavailable(data.get("kind"), data.get("reason")) from error

    def check(self, kind: str, raw: Mapping[str, object]) -> tuple[str, PluginConfig]:
        """Validate a new configuration.

        Returns:
            The canonical kind and the configuration.

        Raises:
            CertctlError: As for ``require``.
            ConfigInvalid: ``fields`` are named ``config.<field>``.
        """
        cls = self.require(kind)
        return cls.kind, validated(cls.Config, raw)

    def with_generated(
        self, kind: str, raw: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, str]]:
        """Fill in the secrets that the kind makes itself and the input leaves out.

        Returns:
            The input with them, and what was made, by field.

        Raises:
            CertctlError: As for ``require``.
        """
        offered = self.require(kind).Config.generate_secrets()
        made = {name: secret.reveal() for name, secret in offered.items() if name not in raw}
        return {**raw, **made}, made

    def change(
        self, row: SealedRow, changes: Mapping[str, object], *, replace: bool
    ) -> PluginConfig:
        """The configuration that a change makes of a stored one.

        Raises:
            CertctlError: As for ``require``, or the stored secrets cannot be decrypted.
            ConfigInvalid: As for ``check``.
            SecretNeedsReentry: A stored secret would go to another host.
        """
        model = self.require(row.kind).Config
        secrets = self._sealer.open(row)
        try:
            merged = merge_config(
                model, row.config, secrets, cast("Mapping[str, JSON]", changes), replace=replace
            )
        except ConfigInvalid as error:
            raise ConfigInvalid(fields=below_config(error)) from error
        new = validated(model, merged.raw)
        try:
            old = load_config(model, row.config, secrets)
        except ConfigInvalid:
            # Where the kept secrets went before cannot be told: so they go nowhere.
            if merged.kept:
                fields = [
                    FieldError(field=f"config.{name}", message="enter it again")
                    for name in sorted(merged.kept)
                ]
                raise SecretNeedsReentry(fields=fields) from None
            return new
        try:
            check_reentry(old, new, merged.kept)
        except SecretNeedsReentry as error:
            raise SecretNeedsReentry(fields=below_config(error)) from error
        return new

    def load(self, row: SealedRow) -> PluginConfig:
        """The validated configuration of a row, secrets in place.

        Raises:
            CertctlError: As for ``require``, or its secrets cannot be decrypted (06 SEC-5).
            ConfigInvalid: It cannot be used any more.
        """
        return load_config(self.require(row.kind).Config, row.config, self._sealer.open(row))

    def store(
        self, row_id: str, config: PluginConfig, *, at: datetime, before: SealedRow | None = None
    ) -> StoredConfig:
        """Take a configuration apart and seal its secrets; see ``Sealer.store``."""
        return self._sealer.store(row_id, config, at=at, before=before)

    def view(self, row: SealedRow) -> RowView:
        """A row as the API shows it; also one whose plugin is gone."""
        return row_view(self._views.row, row, self._kinds.get(row.kind))

    def report(self, report: CheckReport, took: timedelta) -> ReportView:
        """A test report as the API shows it."""
        checks = [
            {"name": check.name, "ok": check.ok, "detail": check.detail, "hint": check.hint}
            for check in report.checks
        ]
        duration_ms = round(took.total_seconds() * 1000)
        return self._views.report.model_validate(
            {"ok": report.ok, "checks": checks, "duration_ms": duration_ms}
        )

    def kinds(self) -> list[KindView]:
        """The catalogue: every kind that is installed, unavailable ones with their reason."""
        return [kind_view(self._views.kind, entry) for entry in self._kinds.values()]

    def kind(self, kind: str) -> KindView:
        """One kind, by name or alias.

        Raises:
            KindUnknown: No plugin offers it.
        """
        return kind_view(self._views.kind, self._kinds[self._kinds.canonical(kind)])


def row_view(model: type[AnyView], row: SealedRow, entry: Entry[type[PluginT]] | None) -> AnyView:
    """Show a row, secrets as ``{"set": true, …}``.

    Args:
        model: Its fields are columns of the row, or ``title``, ``config``, ``capabilities``.
        row: What is stored.
        entry: Its kind; None when the plugin is gone.
    """
    config_model = PluginConfig if entry is None else entry.plugin.Config
    set_at = {name: datetime.fromisoformat(at) for name, at in row.secrets_set_at.items()}
    made = {
        "title": row.kind if entry is None else entry.info.title,
        "config": public_config(config_model, row.config, updated_at=set_at),
        "capabilities": [] if entry is None else list(entry.info.capabilities),
    }
    values = {
        name: made[name] if name in made else getattr(row, name) for name in model.model_fields
    }
    return model.model_validate(values)


def kind_view(model: type[AnyView], entry: Entry[type[PluginT]]) -> AnyView:
    """Show one kind of a catalogue; the model takes of the members those that it has."""
    info = entry.info
    members = {
        "kind": info.kind,
        "title": info.title,
        "summary": entry.plugin.summary,
        "available": info.available,
        "error": info.error or None,
        "capabilities": list(info.capabilities),
        "aliases": list(info.aliases),
        "schema": config_schema(entry.plugin.Config),
        "docs": entry.plugin.docs_url or None,
    }
    wanted = {field.alias or name for name, field in model.model_fields.items()}
    return model.model_validate({name: members[name] for name in wanted})


def validated(model: type[PluginConfig], raw: Mapping[str, object]) -> PluginConfig:
    """Validate a configuration that stands under ``config`` in the input.

    Raises:
        ConfigInvalid: ``fields`` are named ``config.<field>``.
    """
    try:
        return validate_config(model, raw)
    except ConfigInvalid as error:
        raise ConfigInvalid(fields=below_config(error)) from None


def below_config(error: ConfigInvalid | SecretNeedsReentry) -> list[FieldError]:
    """The fields of an error, named from the top of the input."""
    return [
        FieldError(
            field=item.field if item.field == "config" else f"config.{item.field}",
            message=item.message,
        )
        for item in error.fields
    ]
