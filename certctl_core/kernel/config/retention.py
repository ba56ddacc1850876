"""How long rows that only tell of the past are kept."""

from datetime import timedelta

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import (
    Duration,
)

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class RetentionSettings(Section):
    """``settings.retention``: how long rows that only tell of the past are kept."""

    jobs: Duration = setting(
        "RETENTION_JOBS",
        timedelta(days=180),
        "Finished jobs are removed after this long.",
        ge=_DAY,
        le=_CENTURY,
        example="90d",
    )
    crl_events: Duration = setting(
        "RETENTION_CRL_EVENTS",
        timedelta(days=90),
        "Records of CRL generation are removed after this long.",
        ge=_DAY,
        le=_CENTURY,
        example="30d",
    )
    notifications: Duration = setting(
        "NOTIFICATION_RETENTION",
        timedelta(days=180),
        "Notifications and their deliveries are removed after this long.",
        ge=_DAY,
        le=_CENTURY,
        example="90d",
    )
