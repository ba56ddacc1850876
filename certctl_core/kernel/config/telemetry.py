"""Logs and metrics."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import (
    Listen,
    choice,
)
from certctl_core.kernel.secrets import Secret

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class LogLevel(StrEnum):
    """The least important line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    JSON = "json"
    TEXT = "text"


class LoggingSettings(Section):
    """``settings.logging``."""

    level: Annotated[LogLevel, choice(LogLevel, warning="warn")] = setting(
        "LOG_LEVEL",
        LogLevel.INFO,
        "The least important line that is logged.",
        live=True,
        example="debug",
    )
    format: Annotated[LogFormat, choice(LogFormat)] = setting(
        "LOG_FORMAT", LogFormat.JSON, "One JSON object per line, or text to read.", example="text"
    )


class MetricsSettings(Section):
    """``settings.metrics``."""

    bind: Listen | None = setting(
        "METRICS_BIND",
        None,
        "host:port of a separate listener for metrics. Off when unset. Beyond loopback it needs "
        "CERTCTL_METRICS_TOKEN.",
        example="127.0.0.1:9090",
    )
    token: Secret | None = setting(
        "METRICS_TOKEN",
        None,
        "Bearer token that the metrics listener asks for; at least 16 characters.",
    )
