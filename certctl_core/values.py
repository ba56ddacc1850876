"""``dataclass`` for frozen values: that of the standard library, with methods made at their first use.

The standard library compiles six methods a class while its module is imported. There are hundreds of
such classes here, and making all methods of all of them was a sixth of the start of a server, which
then uses few. Fields, slots and ``match`` arguments are there at once, as are ``fields``, ``replace``
and ``asdict``; a class that is not frozen is left to the standard library.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``."""

        def make(cls: type) -> type:
            is_late = options.get("frozen") and options.keys() <= _KNOWN
            return _late(cls, options) if is_late else dataclasses.dataclass(**options)(cls)

        return make


__all__ = ["dataclass"]

_PARAMETERS = "__dataclass_params__"
_KNOWN = {"frozen", "slots", "kw_only", "eq"}
_MADE_LATE = ("__init__", "__repr__", "__eq__", "__hash__")
_FIELDS = "__dataclass_fields__"
_INIT_VAR: Any = getattr(dataclasses, "_FIELD_INITVAR", None)
_MADE: Any = getattr(dataclasses, "_HAS_DEFAULT_FACTORY", object())
"""Stands for a value that a factory makes."""
_PARTNERS = ("__eq__", "__hash__")
_OF_FIELDS = ("default", "default_factory", "init", "repr", "hash", "compare", "kw_only")


def _late(cls: type, options: dict[str, bool]) -> Any:
    """The class with its fields, and stand-ins for the methods that are compiled."""
    names = [name for name in _MADE_LATE if name not in vars(cls)]
    if not options.get("eq", True):
        names = [name for name in names if name not in {"__eq__", "__hash__"}]
    bases = [vars(base)[_PARAMETERS] for base in cls.__mro__ if _PARAMETERS in vars(base)]
    cls.__doc__ = cls.__doc__ or cls.__name__  # else a signature is made for it, at some cost
    plain: dict[str, Any] = {"frozen": False, "init": False, "repr": False, "eq": False}
    try:
        for base in bases:  # the standard library does not let others inherit from frozen ones
            base.frozen = False
        made: Any = dataclasses.dataclass(**{**options, **plain})(cls)
    finally:
        for base in bases:
            base.frozen = True
    made.__dataclass_params__.frozen = True
    for name in names:
        setattr(made, name, _stand_in(made, name, names))
    made.__setattr__ = _refuse
    made.__delattr__ = _refuse
    if options.get("slots"):
        made.__getstate__ = _state
        made.__setstate__ = _restore
    return made


def _stand_in(cls: type, name: str, names: list[str]) -> Callable[..., Any]:
    def method(self: object, *args: object, **kwargs: object) -> object:
        _finish(cls, name, names)
        return getattr(cls, name)(self, *args, **kwargs)

    return method


def _finish(cls: Any, name: str, names: list[str]) -> None:
    """Put a real method in place, and its partner: those of a twin with the same fields."""
    if name == "__init__" and _is_plain(cls):
        cls.__init__ = _init(cls)
        return
    fields = [(item.name, item.type, _copied(item)) for item in dataclasses.fields(cls)]
    body: dict[str, Any] = {"__doc__": cls.__doc__ or "A twin."}  # else it is made, at some cost
    if hasattr(cls, "__post_init__"):
        body["__post_init__"] = None
    wanted: dict[str, Any] = {
        "init": name == "__init__",
        "repr": name == "__repr__",
        "eq": name in _PARTNERS,
    }
    twin = dataclasses.make_dataclass(cls.__name__, fields, namespace=body, frozen=True, **wanted)
    for made in _PARTNERS if name in _PARTNERS else (name,):
        if made in names:
            method = vars(twin)[made]
            method.__module__, method.__qualname__ = cls.__module__, f"{cls.__qualname__}.{made}"
            setattr(cls, made, method)


def _is_plain(cls: type) -> bool:
    every = vars(cls)[_FIELDS].values()
    return all(item.init and item._field_type is not _INIT_VAR for item in every)  # noqa: SLF001 - as fields() does


def _init(cls: type) -> Callable[..., None]:
    """The ``__init__`` that the standard library makes, without the rest of a class around it.

    Nearly every class gets one, in each process: a twin takes five times as long.
    """
    known: dict[str, Any] = {"_set": object.__setattr__, "_made": _MADE}
    parameters: dict[bool, list[str]] = {False: [], True: []}
    body = []
    for item in dataclasses.fields(cls):
        value, parameter = item.name, item.name
        if item.default is not dataclasses.MISSING:
            known[f"_default_{item.name}"] = item.default
            parameter = f"{item.name}=_default_{item.name}"
        elif item.default_factory is not dataclasses.MISSING:
            known[f"_make_{item.name}"] = item.default_factory
            parameter = f"{item.name}=_made"
            value = f"_make_{item.name}() if {item.name} is _made else {item.name}"
        parameters[bool(item.kw_only)].append(parameter)
        body.append(f"  _set(self, {item.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("  self.__post_init__()")
    named = ["*", *parameters[True]] if parameters[True] else []
    head = ", ".join(["self", *parameters[False], *named])
    source = "\n".join([f"def __init__({head}):", *(body or ["  pass"])])
    exec(compile(source, f"<{cls.__qualname__}>", "exec"), known)  # noqa: S102 - names of fields are identifiers
    method: Callable[..., None] = known["__init__"]
    method.__annotations__ = {item.name: item.type for item in dataclasses.fields(cls)}
    method.__annotations__["return"] = None
    method.__module__, method.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    return method


def _copied(item: dataclasses.Field[Any]) -> Any:
    options: dict[str, Any] = {name: getattr(item, name) for name in _OF_FIELDS}
    return dataclasses.field(**options)


def _refuse(self: object, name: str, *_value: object) -> None:
    message = f"cannot change field {name!r} of a {type(self).__name__}"
    raise dataclasses.FrozenInstanceError(message)


def _state(self: Any) -> list[object]:
    return [getattr(self, item.name) for item in dataclasses.fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for item, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, item.name, value)
