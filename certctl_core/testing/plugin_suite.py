"""What the contract suites of all plugin kinds share: manifest, configuration, clean ending."""

from __future__ import annotations

import json
import threading
from typing import Any, ClassVar

import pytest

from certctl_core.contracts.host.registry import config_fault, manifest_fault
from certctl_core.contracts.options import (
    PluginConfig,
    config_schema,
    load_config,
    public_config,
    secret_values,
    split_secrets,
    validate_config,
)
from certctl_core.contracts.options.errors import ConfigInvalid
from certctl_core.contracts.plugin import Plugin


class PluginContract:
    """Base of the suites. A subclass names the class and gives a configuration that works.

    Attributes:
        plugin: The class under test.
        base: The contract's class; set by the suite of the kind.
    """

    plugin: ClassVar[Any]
    base: ClassVar[type]

    @pytest.fixture
    def raw_config(self) -> dict[str, Any]:
        """A valid configuration as a person would enter it. Override it where there are fields."""
        return {}

    @pytest.fixture
    def config(self, raw_config: dict[str, Any]) -> PluginConfig:
        """The validated configuration."""
        model: type[PluginConfig] = self.plugin.Config
        return validate_config(model, raw_config)

    def test_manifest_is_complete(self) -> None:
        """The registry would take the class."""
        assert issubclass(self.plugin, Plugin)
        assert manifest_fault(self.plugin, self.base) is None
        assert config_fault(self.plugin) is None

    def test_every_field_says_what_it_is(self) -> None:
        """Title and help drive form, command line and reference page."""
        schema = config_schema(self.plugin.Config)
        json.dumps(schema)
        bare = [
            name
            for part in (schema, *schema.get("$defs", {}).values())
            for name, field in part.get("properties", {}).items()
            if not field.get("title") or not field.get("description")
        ]
        assert bare == []

    def test_configuration_survives_storage(self, config: PluginConfig) -> None:
        """What is stored loads as the same configuration; the plain part holds no secret."""
        plain, secrets = split_secrets(config)
        stored = json.dumps(plain)
        assert [name for name, value in secrets.items() if value in stored] == []
        assert load_config(type(config), json.loads(stored), secrets) == config

    def test_unknown_keys_are_refused(self, raw_config: dict[str, Any]) -> None:
        """A misspelt option must not be ignored."""
        with pytest.raises(ConfigInvalid):
            validate_config(self.plugin.Config, {**raw_config, "no_such_option": 1})

    def test_secrets_are_never_shown(self, config: PluginConfig) -> None:
        """Neither representation, dump nor the shown form holds a secret."""
        plain, _ = split_secrets(config)
        shown = public_config(type(config), plain)
        texts = f"{config!r} {config} {config.model_dump_json()} {shown}"
        assert [value for value in secret_values(config) if value.reveal() in texts] == []


def live_threads() -> set[threading.Thread]:
    """The threads that run now, to compare with later."""
    return {thread for thread in threading.enumerate() if thread.is_alive()}
