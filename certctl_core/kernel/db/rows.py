"""Rows that are written as JSON without becoming objects first.

A list answers with up to 500 rows of two dozen members. Making a model of each one and writing that
costs many times what the database needs for them; here the text of a whole column is made at once.
The models stay the contract: what comes out is, byte for byte, what they would have written.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from json.encoder import encode_basestring
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json
from sqlalchemy.engine import Row

from certctl_core.kernel.db.columns import UTCDateTime
from certctl_core.values import dataclass

Model = TypeVar("Model", bound=BaseModel)
Column = Sequence[Any]
_MANY = 4096
_FEW = 16
_MINUTE = 60_000_000
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class RowView(Generic[Model]):
    """A view whose members are the columns of a list, by name.

    Args:
        model: It may have no validator and no serializer of its own.
    """

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def __call__(self, row: Row[Any]) -> Model:
        """Row → view."""
        return self.model.model_validate(row, from_attributes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One member of a view.

    Attributes:
        name: The member, and the column.
        wire: What it is called in JSON.
        key: The same as it is written.
        texts: A column as the driver gives it → the JSON text of every cell of it, none of it NULL.
        value: One cell as the driver gives it → what the model is validated from.
        known: Texts that were written lately.
    """

    name: str
    wire: str
    key: str
    texts: Callable[[Column], Iterable[str]]
    value: Callable[[Any], Any]
    known: dict[Any, str]

    def text(self, value: Any) -> str:
        """The JSON text of one cell; what whole pages have in common is mostly the same again."""
        found = self.known.get(value)
        if found is None:
            if len(self.known) >= _FEW:
                self.known.clear()
            found = self.known[value] = next(iter(self.texts((value,))))
        return found


def cells(
    model: type[BaseModel], columns: Mapping[str, sa.ColumnElement[Any]], *, is_postgres: bool
) -> tuple[Cell, ...]:
    """How the members of a model are written, in its order.

    Raises:
        TypeError: A member has no column of its name, or writes itself in a way of its own.
    """
    decorators = model.__pydantic_decorators__
    if decorators.field_serializers or decorators.model_serializers or decorators.computed_fields:
        message = f"{model.__name__} has serializers: it is no plain view of rows"
        raise TypeError(message)
    if decorators.field_validators or decorators.model_validators:
        message = f"{model.__name__} has validators: it is no plain view of rows"
        raise TypeError(message)
    found = []
    for name, info in model.model_fields.items():
        if name not in columns:
            message = f"{model.__name__}.{name}: the list has no such column"
            raise TypeError(message)
        texts, value = _codec(info, columns[name].type, is_postgres=is_postgres)
        wire = info.serialization_alias or info.alias or name
        key = encode_basestring(wire) + ":"
        found.append(Cell(name=name, wire=wire, key=key, texts=texts, value=value, known={}))
    return tuple(found)


def document(columns: Iterable[tuple[Cell, Column]], count: int) -> str:
    """Rows as a JSON array.

    A column that holds one value on the whole page is written once.

    Args:
        columns: The members to write and their columns, each ``count`` cells long.
        count: The number of rows.
    """
    fixed: list[str] = []
    varying: list[Iterable[str]] = []
    text = ",{"
    for member, column in columns:
        text += member.key
        first = column[0]
        if first == column[-1] and column.count(first) == count:
            text += "null" if first is None else member.text(first)
        else:
            fixed.append(text)
            varying.append(_nullable(member, column) if None in column else member.texts(column))
            text = ""
        text += ","
    fixed.append(text.rstrip(",") + "}")
    # Fixed texts and cells in turn, each column put in its places at once.
    stride = 2 * len(varying) + 1
    found = [""] * (stride * count)
    for place, text in enumerate(fixed):
        found[2 * place :: stride] = [text] * count
    for place, texts in enumerate(varying):
        found[2 * place + 1 :: stride] = texts
    found[0] = found[0].replace(",", "[", 1)
    return "".join(found) + "]"


def time_of(value: Any) -> datetime:
    """A time of either driver as it is."""
    return datetime.fromisoformat(value) if isinstance(value, str) else _from_micros(value)


def _nullable(member: Cell, column: Column) -> Iterable[str]:
    texts = iter(member.texts([value for value in column if value is not None]))
    return ["null" if value is None else next(texts) for value in column]


def _codec(
    info: FieldInfo, kind: sa.types.TypeEngine[Any], *, is_postgres: bool
) -> tuple[Callable[[Column], Iterable[str]], Callable[[Any], Any]]:
    shape = _without_none(info.annotation)
    if isinstance(kind, UTCDateTime) and shape is datetime:
        return (_micros if is_postgres else _times), time_of
    if isinstance(kind, sa.JSON):
        strip = _stripped if is_postgres else _same
        if _holds_texts(shape):
            return _compact(strip, _respaced), lambda value: from_json(strip(value))
        adapter: TypeAdapter[Any] = TypeAdapter(shape)
        if _is_plain(shape):
            return _compact(strip, _respaced, always=True), lambda value: from_json(strip(value))

        def shaped(text: str) -> str:
            return adapter.dump_json(adapter.validate_python(from_json(text))).decode()

        return _compact(strip, shaped, always=True), lambda value: from_json(strip(value))
    if isinstance(kind, sa.Boolean) and shape is bool:
        return _booleans, bool
    if isinstance(kind, sa.Integer) and shape is int:
        return _integers, _same
    if isinstance(kind, sa.Float) and shape is float:
        return _scalars, _same
    if isinstance(kind, sa.String) and isinstance(shape, type) and issubclass(shape, str):
        return _strings, _same
    message = f"a member {shape} is not written from a column {kind!r}"
    raise TypeError(message)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        others = [item for item in get_args(annotation) if item is not type(None)]
        if len(others) == 1:
            return others[0]
    return annotation


def _holds_texts(shape: Any) -> bool:
    """Whether JSON of that shape is made of texts, lists and objects of texts only."""
    if isinstance(shape, type) and issubclass(shape, str):
        return not issubclass(shape, StrEnum)
    if get_origin(shape) in {list, dict}:
        return all(_holds_texts(item) for item in get_args(shape))
    return False


def _is_plain(shape: Any) -> bool:
    """Whether validation changes nothing: JSON values of any kind."""
    if get_origin(shape) in {list, dict}:
        return all(_is_plain(item) for item in get_args(shape))
    return shape in {str, Any}


def _same(value: Any) -> Any:
    return value


def _stripped(value: str) -> str:
    """The text of a ``jsonb`` in binary form: a version stands before it."""
    return value[1:]


def _strings(column: Column) -> Iterable[str]:
    return map(encode_basestring, column)


def _booleans(column: Column) -> Iterable[str]:
    return ["true" if value else "false" for value in column]


def _integers(column: Column) -> Iterable[str]:
    return map(str, column)


def _scalars(column: Column) -> Iterable[str]:
    return [to_json(value).decode() for value in column]


def _compact(
    strip: Callable[[str], str], write: Callable[[str], str], *, always: bool = False
) -> Callable[[Column], Iterable[str]]:
    def texts(column: Column) -> Iterable[str]:
        return [
            write(text) if always or "\\" in text or ", " in text or ": " in text else text
            for text in map(strip, column)
        ]

    return texts


def _respaced(text: str) -> str:
    return to_json(from_json(text)).decode()


def _times(column: Column) -> Iterable[str]:
    """RFC 3339 with six digits, as SQLite has it; a whole second is written without them."""
    return ['"' + value.replace(".000000Z", "Z") + '"' for value in column]


_known: dict[int, str] = {}
"""Times that were written lately: the rows of a list are mostly read more than once."""
_minutes: dict[int, str] = {}
"""Minutes since the epoch of PostgreSQL → how a time in them begins; many share one."""


def _micros(column: Column) -> Iterable[str]:
    """Microseconds since the epoch of PostgreSQL, as its binary form has them."""
    find = _known.get
    return [find(value) or _written(value) for value in column]


def _written(value: int) -> str:
    minute = value // _MINUTE
    millis, micros = divmod(value - minute * _MINUTE, 1000)
    seconds, millis = divmod(millis, 1000)
    fraction = f".{millis:03}{micros:03}" if micros or millis else ""
    begin = _minutes.get(minute) or _begin(minute)
    if len(_known) >= _MANY:
        _known.clear()
    text = _known[value] = f'"{begin}{seconds:02}{fraction}Z"'
    return text


def _begin(minute: int) -> str:
    if len(_minutes) >= _MANY:
        _minutes.clear()
    text = (_POSTGRES_EPOCH + timedelta(minutes=minute)).isoformat()[:17]
    _minutes[minute] = text
    return text


def _from_micros(value: int) -> datetime:
    return _POSTGRES_EPOCH + timedelta(microseconds=value)
