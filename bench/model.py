"""The words of the benchmarks: operation, contender, reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Better(StrEnum):
    """Which way a figure is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Unavailable(Exception):
    """A program that is to be measured is not there.

    Args:
        what: What is missing.
        hint: How to get it.
    """

    def __init__(self, *, what: str, hint: str) -> None:
        super().__init__(f"{what} is not installed ({hint})")


class Broken(Exception):
    """A measurement went wrong; its figure would mean nothing.

    Args:
        what: What was measured or started.
        why: What happened.
    """

    def __init__(self, *, what: str, why: object) -> None:
        super().__init__(f"{what}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure of one round.

    Attributes:
        value: In the operation's unit.
        notes: Further figures of the same round, such as latencies in milliseconds.
    """

    value: float
    notes: dict[str, float] = field(default_factory=dict)


Measure = Callable[[float], Reading]
"""Takes the length of a round in seconds (a wish where an operation has none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something that does the operation.

    Attributes:
        name: How floors and results call it.
        start: Brings it up and gives the function that measures it. It may raise ``Unavailable``.
        version: What was measured, for the record.
    """

    name: str
    start: Callable[[Bench], AbstractContextManager[Measure]]
    version: Callable[[Bench], str] = lambda _bench: ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A row: ours and the peers.

    Attributes:
        id: Short name on the command line and in ``floors.toml``.
        row: Number in the table of goals.
        ours: The product; the first measured in every round.
        unit: Of the readings.
        seconds: Length of a round where ``--seconds`` does not say otherwise.
    """

    id: str
    row: str
    title: str
    unit: str
    better: Better
    ours: Contender
    peers: tuple[Contender, ...]
    seconds: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where a run works.

    Attributes:
        folder: Scratch space; gone after the run.
        peers: Where peers were installed that no package manager put on the PATH.
        cache: What is kept from run to run because making it takes minutes.
        rows: Size of the inventory for the operations that depend on it.
        server_cpu: Core for every server-side process, or None for any.
        client_cpu: Core for the load, or None for any.
    """

    folder: Path
    peers: Path
    cache: Path
    rows: int
    server_cpu: int | None
    client_cpu: int | None

    def on_server(self, command: list[str]) -> list[str]:
        """The command bound to the core of the servers."""
        return _bound(self.server_cpu, command)

    def on_client(self, command: list[str]) -> list[str]:
        """The command bound to the core of the load."""
        return _bound(self.client_cpu, command)

    def subfolder(self, name: str) -> Path:
        """A folder of its own inside the scratch space."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def _bound(cpu: int | None, command: list[str]) -> list[str]:
    return command if cpu is None else ["taskset", "-c", str(cpu), *command]


@contextmanager
def always(measure: Measure) -> Iterator[Measure]:
    """For contenders that need nothing to be brought up."""
    yield measure
