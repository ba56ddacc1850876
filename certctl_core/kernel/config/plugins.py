"""Which plugins are loaded."""

from datetime import timedelta

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import (
    Texts,
)

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class PluginSettings(Section):
    """``settings.plugins``."""

    disabled: Texts = setting(
        "PLUGINS_DISABLED",
        (),
        "Names of plugins that are not loaded. One that no plugin has is refused like an unknown "
        "setting.",
        example="webhook,nginx",
    )
