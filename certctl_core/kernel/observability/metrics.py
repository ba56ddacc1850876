"""Metrics: counters, gauges and histograms of this process (spec 08 §8).

A room declares them once, at module level, and moves them wherever something happens::

    ISSUED = counter("certctl_issuance_total", "Certificates issued.", ("issuer_type", "outcome"))
    ISSUED.labels("local", "success").inc()

Values are plain numbers in memory: moving one takes about 0.2 µs (prometheus-client: 0.7 µs, with
files for several processes 0.9 µs, and 2.4 µs where the labels are looked up). ``exposition`` writes
them out, for one process or for several.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from typing import Generic, TypeVar

from certctl_core.values import dataclass

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; for what a person or a request waits for."""

INFINITY = float("inf")
MAX_SERIES = 2000
"""Label sets per metric. Beyond it all are counted as ``other``: a label that grows without bound is
a defect, and must cost a wrong label, not the memory of the process."""

_NAME = re.compile(r"certctl_[a-z0-9]+(?:_[a-z0-9]+)*")
_OTHER = "other"


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How a gauge of several processes becomes one; the values are prometheus-client's modes."""

    LATEST = "livemostrecent"
    SUM = "livesum"
    MAX = "livemax"
    MIN = "livemin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One number: ``name`` with suffix (``_bucket``, ``_sum``), label names and values, value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class _Cell:
    """A number with a lock: adding to one is not atomic."""

    __slots__ = ("_lock", "value")

    def __init__(self, lock: threading.Lock | None = None) -> None:
        self._lock = lock or threading.Lock()
        self.value = 0.0

    def reading(self) -> float:
        """The number."""
        return self.value


class CounterCell(_Cell):
    """A count that only rises."""

    __slots__ = ()

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``, which is not negative."""
        if amount < 0:
            message = "a counter never falls"
            raise ValueError(message)
        with self._lock:
            self.value += amount

    def series(self, name: str, labels: tuple[tuple[str, str], ...]) -> Iterator[Series]:
        """The one number."""
        yield Series(name=name, labels=labels, value=self.value)


class GaugeCell(_Cell):
    """A number that goes up and down."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set it."""
        self.value = float(value)

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``."""
        with self._lock:
            self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take ``amount`` away."""
        self.inc(-amount)

    def series(self, name: str, labels: tuple[tuple[str, str], ...]) -> Iterator[Series]:
        """The one number."""
        yield Series(name=name, labels=labels, value=self.value)


class HistogramCell:
    """How often values fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_lock", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self.counts = [0] * len(bounds)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value (seconds, bytes …: the unit is in the name)."""
        at = bisect_left(self._bounds, value)
        with self._lock:
            self.counts[at] += 1
            self.total += value

    def reading(self) -> float:
        """How many values were observed."""
        return float(sum(self.counts))

    def series(self, name: str, labels: tuple[tuple[str, str], ...]) -> Iterator[Series]:
        """The buckets, each with its own count only (not summed up), and the sum."""
        with self._lock:
            counts, total = tuple(self.counts), self.total
        for bound, count in zip(self._bounds, counts, strict=True):
            text = "+Inf" if bound == INFINITY else repr(bound)
            yield Series(name=f"{name}_bucket", labels=(*labels, ("le", text)), value=count)
        yield Series(name=f"{name}_sum", labels=labels, value=total)


_CellT = TypeVar("_CellT", CounterCell, GaugeCell, HistogramCell)


class Metric(Generic[_CellT]):
    """A family of numbers with one name. Made by ``counter``, ``gauge`` and ``histogram``.

    Attributes:
        name: With ``certctl_`` and unit.
        documentation: One sentence.
        label_names: Names of the labels, in the order ``labels`` takes their values.
        kind: Counter, gauge or histogram.
        merge: For gauges: how processes are put together.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: tuple[str, ...],
        *,
        kind: Kind,
        cell: Callable[[], _CellT],
        bounds: tuple[float, ...] = (),
        merge: Merge = Merge.LATEST,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.label_names = label_names
        self.kind = kind
        self.merge = merge
        self.bounds = bounds
        self._cell: Callable[[], _CellT] = cell
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, ...], _CellT] = {}
        if not label_names:
            self.labels()

    def labels(self, *values: str) -> _CellT:
        """The cell of one label set; keep it where it is moved often.

        Args:
            values: One per label name, from a small closed set; never a name, URL or address.

        Raises:
            ValueError: Not as many values as names.
        """
        found = self._cells.get(values)
        return found if found is not None else self._add(values)

    def series(self) -> Iterator[Series]:
        """Every number of the family."""
        for values, cell in list(self._cells.items()):
            yield from cell.series(self.name, tuple(zip(self.label_names, values, strict=True)))

    def value(self, *values: str) -> float:
        """The number of one label set, or 0; for a histogram how many values were observed."""
        cell = self._cells.get(values)
        if cell is None:
            return 0.0
        return cell.reading()

    def remove(self, *values: str) -> None:
        """Forget a label set whose subject is gone (gauges)."""
        with self._lock:
            self._cells.pop(values, None)

    def _add(self, values: tuple[str, ...]) -> _CellT:
        if len(values) != len(self.label_names):
            message = f"{self.name} has {len(self.label_names)} labels, not {len(values)}"
            raise ValueError(message)
        with self._lock:
            if len(self._cells) >= MAX_SERIES and values not in self._cells:
                values = (_OTHER,) * len(values)
            found = self._cells.get(values)
            if found is None:
                found = self._cell()
                self._cells[values] = found
            return found


class Counter(Metric[CounterCell]):
    """A count that only rises; its name ends in ``_total``. All its series share one lock."""

    def __init__(self, name: str, documentation: str, label_names: tuple[str, ...]) -> None:
        lock = threading.Lock()
        self._together = lock
        cell = partial(CounterCell, lock)
        super().__init__(name, documentation, label_names, kind=Kind.COUNTER, cell=cell)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the only series of a counter without labels."""
        self.labels().inc(amount)

    def together(self, *label_sets: tuple[str, ...]) -> Callable[[], None]:
        """What adds one to several series at the price of one; keep it where that happens often.

        Raises:
            ValueError: Not as many values as names.
        """
        cells = tuple(self.labels(*values) for values in label_sets)
        lock = self._together

        def add() -> None:
            with lock:
                for cell in cells:
                    cell.value += 1.0

        return add


class Gauge(Metric[GaugeCell]):
    """A number that goes up and down."""

    def set(self, value: float) -> None:
        """Set the only series of a gauge without labels."""
        self.labels().set(value)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the only series of a gauge without labels."""
        self.labels().inc(amount)

    def dec(self, amount: float = 1.0) -> None:
        """Take from the only series of a gauge without labels."""
        self.labels().dec(amount)


class Histogram(Metric[HistogramCell]):
    """A distribution in buckets."""

    def observe(self, value: float) -> None:
        """Count one value in the only series of a histogram without labels."""
        self.labels().observe(value)


AnyMetric = Counter | Gauge | Histogram
_M = TypeVar("_M", Counter, Gauge, Histogram)


class MetricRegistry:
    """The metrics of a process, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metrics: dict[str, AnyMetric] = {}

    def add(self, metric: _M) -> _M:
        """Keep a metric; the same declaration again gives the first one back.

        Raises:
            ValueError: The name is taken by another declaration, or is not of the form.
        """
        if not _NAME.fullmatch(metric.name):
            message = f"{metric.name!r} is not of the form certctl_<noun>_<unit>"
            raise ValueError(message)
        if (metric.kind is Kind.COUNTER) is not metric.name.endswith("_total"):
            message = f"{metric.name}: counters and only counters end in _total"
            raise ValueError(message)
        with self._lock:
            known = self._metrics.setdefault(metric.name, metric)
        if _declaration(known) != _declaration(metric) or not isinstance(known, type(metric)):
            message = f"{metric.name} is declared twice, and differently"
            raise ValueError(message)
        return known

    def all(self) -> tuple[AnyMetric, ...]:
        """Every metric, in order of name."""
        with self._lock:
            return tuple(self._metrics[name] for name in sorted(self._metrics))

    def get(self, name: str) -> AnyMetric | None:
        """The metric of that name, or None."""
        return self._metrics.get(name)


def _declaration(metric: AnyMetric) -> tuple[object, ...]:
    return (
        metric.kind,
        metric.documentation,
        metric.label_names,
        metric.bounds,
        metric.merge,
    )


REGISTRY = MetricRegistry()
"""The registry of this process. Like the log, metrics belong to the process and not to a ``Core``."""


def counter(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    registry: MetricRegistry = REGISTRY,
) -> Counter:
    """Declare a counter, ``certctl_<noun>_total``; declaring it again gives the same one."""
    return registry.add(Counter(name, documentation, tuple(labels)))


def gauge(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    merge: Merge = Merge.LATEST,
    registry: MetricRegistry = REGISTRY,
) -> Gauge:
    """Declare a gauge; ``merge`` says how several processes become one number."""
    made = Gauge(name, documentation, tuple(labels), kind=Kind.GAUGE, cell=GaugeCell, merge=merge)
    return registry.add(made)


def histogram(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = DURATION_BUCKETS,
    registry: MetricRegistry = REGISTRY,
) -> Histogram:
    """Declare a histogram; ``buckets`` are upper bounds in rising order, without infinity.

    Raises:
        ValueError: The bounds do not rise.
    """
    bounds = tuple(float(bound) for bound in buckets)
    if not bounds or list(bounds) != sorted(set(bounds)):
        message = f"{name}: the bounds of the buckets must rise"
        raise ValueError(message)
    made = Histogram(
        name,
        documentation,
        tuple(labels),
        kind=Kind.HISTOGRAM,
        cell=lambda: HistogramCell((*bounds, INFINITY)),
        bounds=(*bounds, INFINITY),
    )
    return registry.add(made)
