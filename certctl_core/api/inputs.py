"""What no room can store and every room would have to refuse: once, at the edge of the api floor.

PostgreSQL has no text with U+0000 in it, and a time near the end of the calendar leaves it when it
is turned into UTC. The validated input is walked, so a model that cleans its text is respected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum

from pydantic import BaseModel

from certctl_core.api.errors import BadFields
from certctl_core.kernel.errors import FieldError

_NUL = "\0"
_HARMLESS = frozenset({int, bool, float, type(None)})
_COLLECTIONS = frozenset({dict, list})
_NO_NUL = "may not contain U+0000"
_OUT_OF_RANGE = "is out of range"


def refuse_unusable(value: object) -> None:
    """Refuse input with U+0000 in a text, or with a time that has no form in UTC.

    Args:
        value: A validated model, or a mapping of names to texts.

    Raises:
        BadFields: Names every member that is not usable.
    """
    if _is_usable(value):
        return
    faults = list(_faults(value, ""))
    if faults:
        raise BadFields(count=len(faults), fields=faults)


def _is_usable(value: object) -> bool:
    """A quick look at what most input is: texts, numbers and nothing, in a model or a collection.

    False says no more than that a closer look is needed.
    """
    members: Iterable[object]
    if isinstance(value, dict):
        if not all(type(name) is str and _NUL not in name for name in value):
            return False
        members = value.values()
    elif isinstance(value, list):
        members = value
    elif hasattr(value, "model_fields_set"):  # the names in a model are ours
        members = value.__dict__.values()
    else:
        return False
    return all(_is_harmless(member) for member in members)


def _is_harmless(member: object) -> bool:
    kind = type(member)
    if kind in _COLLECTIONS:
        return not member or _is_usable(member)
    if kind is str:
        return _NUL not in member  # type: ignore[operator] # it is text
    return kind in _HARMLESS or isinstance(member, Enum)


def _faults(value: object, where: str) -> Iterator[FieldError]:
    if isinstance(value, str):
        if _NUL in value:
            yield FieldError(field=where, message=_NO_NUL)
    elif isinstance(value, datetime):
        if not _is_in_utc(value):
            yield FieldError(field=where, message=_OUT_OF_RANGE)
    else:
        for name, member in _members(value):
            path = f"{where}.{name}" if where else name
            if _NUL in name:
                yield FieldError(field=path.replace(_NUL, ""), message=_NO_NUL)
            yield from _faults(member, path)


def _members(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, BaseModel):
        return value.__dict__.items()
    if isinstance(value, Mapping):
        return ((str(name), member) for name, member in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ((str(at), member) for at, member in enumerate(value))
    return ()


def _is_in_utc(value: datetime) -> bool:
    try:
        value.astimezone(UTC)
    except OverflowError:
        return False
    return True
