"""Settings: one frozen tree, loaded strictly, every value with its source.

``load_settings`` reads them for a process, ``Settings.for_directory`` makes them for embedding.
"""

from __future__ import annotations

from certctl_core.kernel.config.errors import ConfigError, Problem, UnknownSetting
from certctl_core.kernel.config.fields import PREFIX
from certctl_core.kernel.config.index import SettingSpec, specs
from certctl_core.kernel.config.load import (
    DEFAULT_CONFIG_FILE,
    LISTEN,
    default_data_dir,
    load_settings,
    secret_names,
)
from certctl_core.kernel.config.pki import CALint, Preflight
from certctl_core.kernel.config.settings import Change, Explanation, Settings, ShownSetting, spec_of
from certctl_core.kernel.config.values import AllowedDestination, HostPort, IPNetwork

__all__ = [
    "DEFAULT_CONFIG_FILE",
    "LISTEN",
    "PREFIX",
    "AllowedDestination",
    "CALint",
    "Change",
    "ConfigError",
    "Explanation",
    "HostPort",
    "IPNetwork",
    "Preflight",
    "Problem",
    "SettingSpec",
    "Settings",
    "ShownSetting",
    "UnknownSetting",
    "default_data_dir",
    "load_settings",
    "secret_names",
    "spec_of",
    "specs",
]
