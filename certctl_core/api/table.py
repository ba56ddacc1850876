"""The one operation table: every use case of the installation, by name and by route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from certctl_core.kernel.operations import Access, Operation

BASE_PATH = "/api/v1"
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class OperationTable:
    """An immutable set of operations with unique names and routes.

    Raises:
        TypeError: At construction, when two operations share a name or a route, or a gated one
            names a permission that is not in the catalogue: the installation does not start.
    """

    def __init__(self, operations: Iterable[Operation], *, permissions: frozenset[str]) -> None:
        self._by_name: dict[str, Operation] = {}
        routes: dict[tuple[str, str], str] = {}
        for operation in operations:
            route = (operation.method, _PARAMETER.sub("{}", operation.path))
            if operation.name in self._by_name or route in routes:
                message = f"operation {operation.name} repeats a name or the route {route}"
                raise TypeError(message)
            if operation.access is Access.GATED and operation.permission not in permissions:
                message = f"operation {operation.name}: no permission {operation.permission!r}"
                raise TypeError(message)
            self._by_name[operation.name] = operation
            routes[route] = operation.name

    def __iter__(self) -> Iterator[Operation]:
        """All operations, in the order in which rooms declare them."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        """How many operations there are."""
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        """Whether there is an operation of that name."""
        return name in self._by_name

    def __getitem__(self, name: str) -> Operation:
        """The operation of that name; ``KeyError`` when there is none."""
        return self._by_name[name]


def parameters(operation: Operation) -> list[str]:
    """The names of the path parameters, in order."""
    return _PARAMETER.findall(operation.path)


def wire_names(model: type[BaseModel] | None) -> set[str]:
    """What the members of a model are called in JSON."""
    members = model.model_fields if model is not None else {}
    return {info.serialization_alias or info.alias or name for name, info in members.items()}
