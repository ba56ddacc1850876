"""Logs and metrics of a process."""

from __future__ import annotations

from certctl_core.kernel.observability.exposition import MetricsExport, Reading
from certctl_core.kernel.observability.limits import count_limited
from certctl_core.kernel.observability.logs import (
    LogHandle,
    configure,
    request_context,
    set_actor,
)
from certctl_core.kernel.observability.metrics import (
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    Merge,
    MetricRegistry,
    counter,
    gauge,
    histogram,
)

__all__ = [
    "REGISTRY",
    "Counter",
    "Gauge",
    "Histogram",
    "LogHandle",
    "Merge",
    "MetricRegistry",
    "MetricsExport",
    "Reading",
    "configure",
    "count_limited",
    "counter",
    "gauge",
    "histogram",
    "request_context",
    "set_actor",
]
