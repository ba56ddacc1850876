"""Metrics as Prometheus reads them: of one process, or of all that share a directory.

With a directory each process writes its numbers into memory-mapped files there (prometheus-client's
multiprocess form), once a second and only what moved; whoever is scraped puts all files together.
Counters of a process that ended stay until the next start; its gauges go.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.observability.metrics import (
    REGISTRY,
    AnyMetric,
    Kind,
    MetricRegistry,
    Series,
)
from certctl_core.values import dataclass

if TYPE_CHECKING:  # loaded with the first scrape or flush
    from prometheus_client.metrics_core import Metric as Family

FLUSH_SECONDS = 1.0
CACHE = timedelta(seconds=10)
"""How long a reading that needs the database is kept (spec 08 MET)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A gauge that is read when somebody looks, such as a count of rows.

    Attributes:
        name: ``certctl_certificate_total``.
        documentation: One sentence.
        value: The number.
        labels: Label names and values.
    """

    name: str
    documentation: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class _File(Protocol):
    """What we use of prometheus-client's memory-mapped dictionary, which is untyped."""

    def write_value(self, key: str, value: float, timestamp: float) -> None: ...
    def close(self) -> None: ...


_Place = tuple[str, tuple[tuple[str, str], ...]]

Reader = Callable[[], Iterable[Reading]]


def clear(directory: Path) -> None:
    """Forget what earlier runs left behind; for the parent, before it starts its processes."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)


class MetricsExport:
    """Writes the metrics of this process out. Build it after a fork; close it.

    Args:
        clock: For the age of readings.
        directory: Shared by the processes of one server; None for a process of its own.
        registry: The metrics.
    """

    def __init__(
        self, *, clock: Clock, directory: Path | None = None, registry: MetricRegistry = REGISTRY
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._registry = registry
        self._readers: list[Reader] = []
        self._cached: tuple[float, tuple[Reading, ...]] | None = None
        self._lock = threading.Lock()
        self._files = (
            _Files(directory, registry, clock.monotonic) if directory is not None else None
        )
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add_reader(self, read: Reader) -> None:
        """Ask ``read`` at a scrape, at most every 10 seconds; aggregate statements only."""
        self._readers.append(read)

    def start(self) -> None:
        """Begin to write to the directory; without one there is nothing to do."""
        if self._files is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._keep_flushing, name="certctl-metrics", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Write once more and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * FLUSH_SECONDS)
            self._thread = None
        if self._files is not None:
            self._files.flush()
            self._files.close()

    def flush(self) -> None:
        """Write what moved to the directory now."""
        if self._files is not None:
            self._files.flush()

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """All metrics for a scraper.

        Args:
            accept: Its Accept field: text format 0.0.4, or OpenMetrics where it asks for that.

        Returns:
            Content type and body.
        """
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector, CollectorRegistry

        families = self._families

        class Everything(Collector):
            @override
            def collect(self) -> Iterator[Family]:
                return families()

        everything = CollectorRegistry(auto_describe=False)
        everything.register(Everything())
        encode, content_type = choose_encoder(accept)
        return content_type, encode(everything)

    def snapshot(self) -> tuple[Series, ...]:
        """All numbers as values, histograms in summed-up buckets; for the JSON form."""
        return tuple(
            Series(
                name=sample.name, labels=tuple(sorted(sample.labels.items())), value=sample.value
            )
            for family in self._families()
            for sample in family.samples
        )

    def _families(self) -> Iterator[Family]:
        if self._files is None:
            for metric in self._registry.all():
                yield _family(metric)
        else:
            yield from self._files.merged()
        yield from _reading_families(self._readings())

    def _readings(self) -> tuple[Reading, ...]:
        with self._lock:
            now = self._clock.monotonic()
            if self._cached is None or now - self._cached[0] >= CACHE.total_seconds():
                found = tuple(reading for read in self._readers for reading in read())
                self._cached = (now, found)
            return self._cached[1]

    def _keep_flushing(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()


class _Files:
    """The memory-mapped files of this process, and the sum of everybody's."""

    def __init__(
        self, directory: Path, registry: MetricRegistry, monotonic: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._lock = threading.Lock()
        self._open: dict[str, _File] = {}
        self._keys: dict[_Place, str] = {}
        self._written: dict[_Place, float] = {}
        self._monotonic = monotonic
        # A process number comes back after a while; the rest of the name does not.
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"

    def flush(self) -> None:
        from prometheus_client.mmap_dict import mmap_key

        with self._lock:
            for metric in self._registry.all():
                file = self._file(metric)
                for series in metric.series():
                    place = (series.name, series.labels)
                    if self._written.get(place) == series.value:
                        continue
                    key = self._keys.get(place)
                    if key is None:
                        names, values = (
                            zip(*series.labels, strict=True) if series.labels else ((), ())
                        )
                        key = self._keys[place] = mmap_key(
                            _family_name(metric),
                            series.name,
                            list(names),
                            list(values),
                            metric.documentation,
                        )
                    # The newest of several gauges wins; the processes of a host share this clock.
                    stamp = self._monotonic() if metric.kind is Kind.GAUGE else 0.0
                    file.write_value(key, series.value, stamp)
                    self._written[place] = series.value

    def merged(self) -> Iterator[Family]:
        from prometheus_client.multiprocess import MultiProcessCollector

        self.flush()
        for file in self._directory.glob("gauge_*.db"):
            if not _is_alive(int(file.stem.rpartition("_")[2].partition("-")[0])):
                file.unlink(missing_ok=True)
        make: Any = MultiProcessCollector  # untyped
        families: Iterable[Family] = make(None, str(self._directory)).collect()
        return iter(sorted(families, key=lambda family: family.name))

    def close(self) -> None:
        with self._lock:
            for file in self._open.values():
                file.close()
            self._open.clear()
            self._written.clear()

    def _file(self, metric: AnyMetric) -> _File:
        from prometheus_client.mmap_dict import MmapedDict

        prefix = f"gauge_{metric.merge}" if metric.kind is Kind.GAUGE else str(metric.kind)
        file = self._open.get(prefix)
        if file is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            opener: Any = MmapedDict
            file = self._open[prefix] = opener(
                str(self._directory / f"{prefix}_{self._process}.db")
            )
        return file


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _family_name(metric: AnyMetric) -> str:
    return metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name


def _family(metric: AnyMetric) -> Family:
    from prometheus_client.metrics_core import Metric as Family

    family = Family(_family_name(metric), metric.documentation, str(metric.kind))
    running = 0.0
    for series in metric.series():
        value = series.value
        labels = dict(series.labels)
        if series.name.endswith("_bucket") and metric.kind is Kind.HISTOGRAM:
            running += value
            value = running
        family.add_sample(series.name, labels, value)
        if series.name.endswith("_sum") and metric.kind is Kind.HISTOGRAM:
            family.add_sample(f"{metric.name}_count", labels, running)
            running = 0.0
    return family


def _reading_families(readings: Iterable[Reading]) -> Iterator[Family]:
    from prometheus_client.metrics_core import Metric as Family

    families: dict[str, Family] = {}
    for reading in readings:
        family = families.get(reading.name)
        if family is None:
            family = families[reading.name] = Family(
                reading.name, reading.documentation, str(Kind.GAUGE)
            )
        family.add_sample(reading.name, dict(reading.labels), reading.value)
    yield from families.values()
