"""The settings of a process, from what the command line hands over."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from certctl_core.kernel.config import (
    DEFAULT_CONFIG_FILE,
    ConfigError,
    Settings,
    load_settings,
    secret_names,
)
from certctl_core.kernel.secrets import generate_keyring
from certctl_server.exits import Exit, StartFailure

_KEYS = frozenset(
    f"CERTCTL_CONFIG_ENCRYPTION_{name}{form}" for name in ("KEY", "KEYS") for form in ("", "_FILE")
)


def check_plugin_names(settings: Settings) -> list[str]:
    """Whether every plugin that is switched off exists: a slip would leave it on.

    Returns:
        What the start warns of, where unknown names are allowed (08 CFG-5).

    Raises:
        StartFailure: A name is unknown (exit 2).
    """
    if not settings.plugins.disabled:
        return []
    from certctl_core.contracts.host.discover import unknown_names
    from certctl_core.lifecycle.authorities import KIND

    found = unknown_names(settings.plugins.disabled, builtins=[KIND])
    problems = [
        f"CERTCTL_PLUGINS_DISABLED names {name!r}, which no installed plugin is called."
        + (f" Did you mean {similar}?" if similar else " 'certctl plugins list' shows them.")
        for name, similar in found.items()
    ]
    if problems and not settings.allow_unknown:
        raise StartFailure(Exit.CONFIG, problems)
    return problems


class Source:
    """Where settings come from; can be read again, for a reload.

    Args:
        overrides: What the command line gave, by setting name.
        config_file: The TOML file; None for the default one, where that exists.
        environ: The process environment. Variables with secrets are removed from it, so that no
            command that we start inherits them (CFG-10).
    """

    def __init__(
        self,
        overrides: Mapping[str, str],
        config_file: Path | None,
        environ: MutableMapping[str, str],
    ) -> None:
        self._overrides = dict(overrides)
        self._environ = dict(environ)
        self._config_file = config_file
        if config_file is None and DEFAULT_CONFIG_FILE.exists():
            self._config_file = DEFAULT_CONFIG_FILE
        for name in secret_names(environ):
            del environ[name]

    def changed(self, overrides: Mapping[str, str]) -> Source:
        """The same source with more said on the command line."""
        return Source({**self._overrides, **overrides}, self._config_file, dict(self._environ))

    def load(self) -> Settings:
        """The settings as they are now.

        Raises:
            ConfigError: Something cannot be used; holds every problem.
        """
        return load_settings(
            argv_overrides=self._overrides, environ=self._environ, config_file=self._config_file
        )

    def load_for_start(self, *, seals: bool = True) -> Settings:
        """The settings as they are now.

        Args:
            seals: False for what only changes the schema: such a job need not have the keys, as
                in a restore on another machine.

        Raises:
            StartFailure: Something cannot be used (exit 2).
        """
        if not seals and not self._environ.keys() & _KEYS:
            # Nothing is sealed or opened with it.
            self._overrides.setdefault("CONFIG_ENCRYPTION_KEYS", generate_keyring())
        try:
            return self.load()
        except ConfigError as error:
            raise StartFailure.of_config(error) from error
