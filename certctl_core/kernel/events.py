"""Events: the one stream that audit, notifications, caches and plugins hang on.

An event is a frozen dataclass in the past tense with one wire tag (``certificate.issued``); a room
declares its own in ``events.py``. ``Uow.emit`` puts it in an envelope; handlers run in three places:

* ``on_emit``: at once, inside the transaction (jobs, cache rows);
* ``at_commit``: once per unit of work with everything emitted, still inside it (audit, outbox);
* ``after_commit``: per event when the transaction is durable, best effort (wake-ups, plugins).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import ClassVar, Generic, TypeVar

from typing_extensions import override

from certctl_core.kernel.actors import Actor
from certctl_core.values import dataclass

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class Category(StrEnum):
    """The audit category; a closed set (spec 05 AUD-1)."""

    CERT_LIFECYCLE = "cert_lifecycle"
    AUTH = "auth"
    CONFIG = "config"


class Severity(StrEnum):
    """How loud a notification about the event is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


_PLAIN = frozenset({str, int, bool, float, type(None)})


def to_json(value: object) -> JSON:
    """Turn a detail value into plain JSON: times RFC 3339 UTC, durations seconds, enums by value."""
    if type(value) in _PLAIN:
        return value  # type: ignore[return-value] # one of the plain types
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return str(value)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to one resource.

    Subclasses set ``tag`` (``<noun>.<past participle>``), ``category`` and ``resource_type``, and
    add fields; every field but ``resource_id`` becomes a detail of the audit row. Never put a
    secret in a field.
    """

    tag: ClassVar[str] = ""
    category: ClassVar[Category]
    resource_type: ClassVar[str] = ""
    severity: ClassVar[Severity] = Severity.INFO
    catalogue: ClassVar[dict[str, type[Event]]] = {}

    resource_id: str

    @override
    def __init_subclass__(cls, **kwargs: object) -> None:
        """Enter the class into the one vocabulary; a tag cannot be taken twice."""
        super().__init_subclass__(**kwargs)
        if cls.tag:
            known = Event.catalogue.get(cls.tag)
            if known is not None and known.__qualname__ != cls.__qualname__:
                message = f"event tag {cls.tag!r} is declared twice"
                raise TypeError(message)
            Event.catalogue[cls.tag] = cls

    def details(self) -> dict[str, JSON]:
        """The event's fields as JSON, without ``resource_id`` and without empty values."""
        return {
            name: to_json(value)
            for name in _detail_names(type(self))
            if (value := getattr(self, name)) is not None
        }


_names: dict[type[Event], tuple[str, ...]] = {}


def _detail_names(event: type[Event]) -> tuple[str, ...]:
    found = _names.get(event)
    if found is None:
        found = tuple(field.name for field in fields(event) if field.name != "resource_id")
        _names[event] = found
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """An event in its envelope: who, when, in which request."""

    id: str
    at: datetime
    actor: Actor
    request_id: str
    event: Event


Transaction = TypeVar("Transaction")


class Bus(Generic[Transaction]):
    """Who listens. Filled once by ``app``; handlers are called in the order they were added."""

    def __init__(self) -> None:
        self._on_emit: list[tuple[tuple[type[Event], ...], Callable[[Transaction, Emitted], None]]]
        self._on_emit = []
        self._at_commit: list[Callable[[Transaction, Sequence[Emitted]], None]] = []
        self._after: list[tuple[tuple[type[Event], ...], Callable[[Emitted], None]]] = []

    def on_emit(
        self, handler: Callable[[Transaction, Emitted], None], *events: type[Event]
    ) -> None:
        """Call ``handler(uow, emitted)`` when one of ``events`` (none = all) is emitted."""
        self._on_emit.append((events or (Event,), handler))

    def at_commit(self, handler: Callable[[Transaction, Sequence[Emitted]], None]) -> None:
        """Call ``handler(uow, all emitted)`` once, just before the commit, when there are any."""
        self._at_commit.append(handler)

    def after_commit(self, handler: Callable[[Emitted], None], *events: type[Event]) -> None:
        """Call ``handler(emitted)`` after the commit; a failure is logged and goes no further."""
        self._after.append((events or (Event,), handler))

    def emitted(self, uow: Transaction, emitted: Emitted) -> None:
        """Run the ``on_emit`` handlers."""
        for events, handler in self._on_emit:
            if isinstance(emitted.event, events):
                handler(uow, emitted)

    def committing(self, uow: Transaction, emitted: Sequence[Emitted]) -> None:
        """Run the ``at_commit`` handlers."""
        for handler in self._at_commit:
            handler(uow, emitted)

    def committed(self, emitted: Emitted) -> Sequence[Callable[[Emitted], None]]:
        """The ``after_commit`` handlers for this event; the caller runs and guards them."""
        return [handler for events, handler in self._after if isinstance(emitted.event, events)]
