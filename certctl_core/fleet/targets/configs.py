"""Configurations of targets: checked, taken apart, sealed, opened for their agent, shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from certctl_core.contracts.host.registry import Kinds, KindUnknown
from certctl_core.contracts.options import (
    ConfigInvalid,
    PluginConfig,
    SecretNeedsReentry,
    check_reentry,
    join_secrets,
    load_config,
    merge_config,
    validate_config,
)
from certctl_core.contracts.options.storage import VERSION_KEY
from certctl_core.contracts.targets import FileTarget
from certctl_core.fleet.targets._store import TargetRow
from certctl_core.fleet.targets.errors import TargetSecretsUnreadable, UnknownTargetKind
from certctl_core.fleet.targets.schemas import TargetKindView, TargetView
from certctl_core.fleet.targets.types import TargetWork
from certctl_core.kernel.errors import FieldError
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Keyring
from certctl_core.lifecycle.configured import (
    Sealer,
    StoredConfig,
    Unreadable,
    below_config,
    kind_view,
    row_view,
    validated,
)


class TargetConfigs:
    """Turns configurations into rows and back.

    The kind's own optional packages are needed on the agent only: a kind that is unavailable here
    is validated all the same (PLG-02).

    Args:
        kinds: The target kinds of the plugin registry.
        keyring: Seals with the purpose ``plugin-config``.
    """

    def __init__(self, *, kinds: Kinds[type[FileTarget]], keyring: Keyring) -> None:
        self._kinds = kinds
        self._sealer = Sealer(keyring, table="targets", unreadable=_unreadable)

    def plugin(self, kind: str) -> type[FileTarget]:
        """The class of a kind or alias.

        Raises:
            UnknownTargetKind: No plugin offers it.
        """
        try:
            return self._kinds[self._kinds.canonical(kind)].plugin
        except KindUnknown as error:
            raise UnknownTargetKind(
                kind=kind, fields=[FieldError(field="kind", message="is not installed")]
            ) from error

    def check(self, kind: str, raw: Mapping[str, object]) -> tuple[str, PluginConfig]:
        """Validate a new configuration; returns the canonical kind with it.

        Raises:
            UnknownTargetKind: No plugin offers it.
            ConfigInvalid: ``fields`` are named ``config.<field>``.
        """
        plugin = self.plugin(kind)
        return plugin.kind, validated(plugin.Config, raw)

    def change(
        self, row: TargetRow, changes: Mapping[str, object], *, replace: bool
    ) -> PluginConfig:
        """The configuration that a change makes of a stored one.

        Raises:
            UnknownTargetKind, ConfigInvalid, TargetSecretsUnreadable: As named.
            SecretNeedsReentry: A stored secret would go to another host.
        """
        model = self.plugin(row.kind).Config
        secrets = self._sealer.open(row)
        try:
            merged = merge_config(
                model, row.config, secrets, cast("Mapping[str, JSON]", changes), replace=replace
            )
            new = validate_config(model, merged.raw)
            if merged.kept:
                check_reentry(load_config(model, row.config, secrets), new, merged.kept)
        except ConfigInvalid as error:
            raise ConfigInvalid(fields=below_config(error)) from None
        except SecretNeedsReentry as error:
            raise SecretNeedsReentry(fields=below_config(error)) from error
        return new

    def store(
        self, target_id: str, config: PluginConfig, *, at: datetime, before: TargetRow | None = None
    ) -> StoredConfig:
        """Take a configuration apart and seal its secrets; unchanged ones keep their envelope.

        Raises:
            TargetSecretsUnreadable: Those of ``before`` cannot be opened.
        """
        return self._sealer.store(target_id, config, at=at, before=before)

    def work(self, row: TargetRow) -> TargetWork:
        """The configuration as its agent gets it, secrets in place.

        Raises:
            TargetSecretsUnreadable: They cannot be opened.
        """
        raw = join_secrets(row.config, self._sealer.open(row))
        raw.pop(VERSION_KEY, None)
        text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
        return TargetWork(
            id=row.id,
            kind=row.kind,
            config=raw,
            config_digest=hashlib.sha256(text.encode()).hexdigest(),
        )

    def view(self, row: TargetRow) -> TargetView:
        """A row as the API shows it; also one whose plugin is gone."""
        return row_view(TargetView, row, self._kinds.get(row.kind))

    def kinds(self) -> list[TargetKindView]:
        """Every kind that is installed, unavailable ones with their reason."""
        return [kind_view(TargetKindView, entry) for entry in self._kinds.values()]


def _unreadable(found: Unreadable) -> TargetSecretsUnreadable:
    return TargetSecretsUnreadable(target_id=found.row_id, reason=found.code)
