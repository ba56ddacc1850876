"""Rounds that interleave the contenders, and the ratios between them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.model import Bench, Better, Broken, Measure, Operation, Reading, Unavailable

_WARM_UP_SECONDS = 1.0
Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Series:
    """All readings of one contender.

    Attributes:
        skipped: Why there are none; "" when there are.
    """

    name: str
    version: str = ""
    skipped: str = ""
    readings: list[Reading] = field(default_factory=list)

    def median(self) -> float:
        """The middle one of the readings."""
        return statistics.median(reading.value for reading in self.readings)

    def note_medians(self) -> dict[str, float]:
        """The same for what stands beside the readings."""
        names = {name for reading in self.readings for name in reading.notes}
        return {
            name: statistics.median(r.notes[name] for r in self.readings if name in r.notes)
            for name in sorted(names)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ours against one peer; above 1 ours is better, whatever the unit.

    Attributes:
        value: Median of the ratios of the single rounds.
        low / high: The worst and the best round.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One operation of a run."""

    operation: Operation
    ours: Series
    peers: list[Series]

    def ratio(self, peer: Series) -> Ratio | None:
        """How ours compares with the peer; None when one of them was skipped."""
        if self.ours.skipped or peer.skipped:
            return None
        return ratio(self.ours.readings, peer.readings, self.operation.better)

    def document(self) -> dict[str, Any]:
        """As the result file keeps it."""
        return {
            "row": self.operation.row,
            "title": self.operation.title,
            "unit": self.operation.unit,
            "better": self.operation.better.value,
            "ours": _series(self.ours),
            "peers": [_peer(peer, self.ratio(peer)) for peer in self.peers],
        }


def ratio(ours: list[Reading], peer: list[Reading], better: Better) -> Ratio:
    """Median and spread of the ratios of rounds that ran next to each other."""
    if better is Better.HIGHER:
        found = [a.value / b.value for a, b in zip(ours, peer, strict=True)]
    else:
        found = [b.value / a.value for a, b in zip(ours, peer, strict=True)]
    return Ratio(value=statistics.median(found), low=min(found), high=max(found))


def measure(
    operation: Operation, bench: Bench, *, rounds: int, seconds: float | None, say: Say
) -> Result:
    """Bring all contenders up, then measure them in turn: A B C, A B C …

    A contender that is not there is skipped, and the result says why. One that breaks ends the run:
    a figure with errors in it would be worse than none.
    """
    length = seconds or operation.seconds
    contenders = (operation.ours, *operation.peers)
    series = [Series(name=contender.name) for contender in contenders]
    ready: list[tuple[Series, Measure]] = []
    with ExitStack() as stack:
        for contender, its in zip(contenders, series, strict=True):
            try:
                function = stack.enter_context(contender.start(bench))
                its.version = contender.version(bench)
                function(_WARM_UP_SECONDS)
            except Unavailable as error:
                its.skipped = str(error)
                say(f"  {its.name}: skipped: {its.skipped}")
            except Broken as error:
                raise Broken(what=f"{operation.id}, {its.name}", why=error) from error
            else:
                ready.append((its, function))
        for number in range(rounds):
            for its, function in ready:
                try:
                    reading = function(length)
                except Broken as error:
                    raise Broken(what=f"{operation.id}, {its.name}", why=error) from error
                its.readings.append(reading)
                say(f"  round {number + 1} {its.name}: {reading.value:,.4g} {operation.unit}")
    return Result(operation=operation, ours=series[0], peers=series[1:])


def _series(series: Series) -> dict[str, Any]:
    if series.skipped:
        return {"name": series.name, "skipped": series.skipped}
    return {
        "name": series.name,
        "version": series.version,
        "median": series.median(),
        "notes": series.note_medians(),
        "readings": [asdict(reading) for reading in series.readings],
    }


def _peer(series: Series, found: Ratio | None) -> dict[str, Any]:
    return {**_series(series), "ratio": None if found is None else asdict(found)}
