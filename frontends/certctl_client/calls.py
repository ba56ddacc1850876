"""Operations by name over one connection: single answers, files, pages, whole lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from certctl_client.errors import ListEndless
from certctl_client.http import HTTP, Response, expand
from certctl_client.routes import BASE_PATH, ROUTES
from certctl_core.values import dataclass

Row = TypeVar("Row")
Made = TypeVar("Made")
PAGE_SIZE = 100
"""Rows that a walk asks for at a time; the server allows 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """One page of a list.

    Attributes:
        data: The rows, in order.
        total: Rows that match; a lower bound where ``total_exact`` is false.
        next_cursor: Give it as ``cursor`` to go on; None on the last page.
    """

    data: list[Row]
    total: int
    next_cursor: str | None = None
    total_exact: bool = True


class Calls:
    """Runs the operations of the server's table by their names."""

    def __init__(self, http: HTTP) -> None:
        self.http = http

    def call(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Run an operation and get its decoded answer; None where it answers without a body.

        Args:
            name: As in the operation table, ``certificates.list``.
            path: The parameters of its path.
            query: Parameters; None values are left out.
            body: JSON.
            headers: ``If-Match`` and the like.
            timeout_seconds: When the connection's own will not do (long polls).

        Raises:
            KeyError: There is no such operation, or a path parameter is missing.
            APIError: The server refused.
            ServerUnreachable, ServerTimeout, UnexpectedAnswer: No usable answer came.
        """
        return self.response(
            name,
            path=path,
            query=query,
            body=body,
            headers=headers,
            timeout_seconds=timeout_seconds,
        ).json()

    def response(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """As ``call``, for who needs the status, the headers or the bytes of a file."""
        method, template = ROUTES[name]
        return self.http.send(
            method,
            BASE_PATH + expand(template, path or {}),
            query=query,
            body=body,
            headers=headers,
            timeout_seconds=timeout_seconds,
        )

    def page(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        filters: Mapping[str, object] | None = None,
        cursor: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Page[Any]:
        """One page of a list operation.

        Raises:
            APIError: Also for a filter, a sort field or a cursor that the list does not take.
        """
        query = {**(filters or {}), "cursor": cursor, "page_size": page_size}
        document = cast("dict[str, Any]", self.call(name, path=path, query=query))
        return Page(
            data=document["data"],
            total=document["total"],
            next_cursor=document.get("next_cursor"),
            total_exact=document.get("total_exact", True),
        )

    def each(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        filters: Mapping[str, object] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Iterator[Any]:
        """Every row of a list operation, page after page.

        Raises:
            APIError: As for ``page``.
            ListEndless: A page pointed back to itself.
        """
        cursor: str | None = None
        while True:
            page = self.page(name, path=path, cursor=cursor, page_size=page_size, filters=filters)
            yield from page.data
            if page.next_cursor is None:
                return
            if page.next_cursor == cursor:
                raise ListEndless(operation=name)
            cursor = page.next_cursor


_MANAGED = frozenset({"id", "version", "created_at", "updated_at"})
"""Members of a stored object that the server sets."""


class Group:
    """A group of operations of the table, as methods."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls


class Listed(Group, Generic[Row]):
    """A group whose objects can be listed.

    Attributes:
        NAME: The group's name in the operation table.
        PARAMETER: How its paths call the id.
    """

    NAME: str
    PARAMETER: str

    def list(
        self, *, cursor: str | None = None, page_size: int = PAGE_SIZE, **filters: object
    ) -> Page[Row]:
        """One page.

        Args:
            cursor: ``next_cursor`` of the page before.
            page_size: 1 to 500.
            filters: The list's own query parameters, ``sort``, ``q``; None leaves one out.

        Raises:
            APIError: A filter that the list does not take, or no permission.
        """
        return self._calls.page(
            f"{self.NAME}.list", cursor=cursor, page_size=page_size, filters=filters
        )

    def each(self, *, page_size: int = PAGE_SIZE, **filters: object) -> Iterator[Row]:
        """Every row, page after page; arguments as for ``list``."""
        return self._calls.each(f"{self.NAME}.list", page_size=page_size, filters=filters)

    def _one(
        self,
        verb: str,
        object_id: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        return self._calls.call(
            f"{self.NAME}.{verb}",
            path={self.PARAMETER: object_id},
            query=query,
            body=body,
            headers=headers,
        )

    def _create(self, body: object) -> Any:
        return self._calls.call(f"{self.NAME}.create", body=body)

    def _update(self, object_id: str, changes: Mapping[str, object], version: int | None) -> Any:
        headers = {} if version is None else {"If-Match": f'"v{version}"'}
        return self._one("update", object_id, body=dict(changes), headers=headers)


class Collection(Listed[Row]):
    """A group whose objects can be listed and shown."""

    def get(self, object_id: str) -> Row:
        """One object.

        Raises:
            APIError: Not found, or no permission.
        """
        return cast("Row", self._one("get", object_id))


class Documents(Collection[Row]):
    """A group whose objects are nothing but their members."""

    def create(self, members: Mapping[str, object], *, object_id: str | None = None) -> Row:
        """Make an object.

        Args:
            members: Its members, or an object as ``get`` gives it; what is absent has its default.
            object_id: Its id; made by the server when not given.
        """
        body = editable(members) | ({"id": object_id} if object_id else {})
        return cast("Row", self._create(body))

    def update(
        self, object_id: str, changes: Mapping[str, object], *, version: int | None = None
    ) -> Row:
        """Change members; ``version`` makes the change conditional on it (412 otherwise)."""
        return cast("Row", self._update(object_id, editable(changes), version))

    def delete(self, object_id: str) -> None:
        """Delete an object that nothing refers to."""
        self._one("delete", object_id)


class Configured(Collection[Row], Generic[Row, Made]):
    """A group whose objects are configured plugins; ``Made`` is the answer to ``create``."""

    def create(
        self,
        name: str,
        *,
        kind: str,
        config: Mapping[str, object],
        object_id: str | None = None,
        enabled: bool = True,
        test: bool = False,
    ) -> Made:
        """Make an object.

        Args:
            name: Unique in the group.
            kind: An installed kind, ``local`` or ``webhook``.
            config: By the kind's schema.
            object_id: Its id; made by the server when not given.
            enabled: Whether it is used.
            test: Test first; nothing is saved when the test fails.
        """
        body: dict[str, object] = {
            "name": name, "kind": kind, "config": dict(config), "enabled": enabled, "test": test,
        }  # fmt: skip
        return cast("Made", self._create(body | ({"id": object_id} if object_id else {})))

    def update(
        self, object_id: str, changes: Mapping[str, object], *, version: int | None = None
    ) -> Row:
        """Change members; ``version`` makes the change conditional on it (412 otherwise).

        Members of ``config`` that are absent stay, secrets as well; null takes one away.
        """
        return cast("Row", self._update(object_id, changes, version))


def editable(members: Mapping[str, object]) -> dict[str, object]:
    """The members of an object that are not the server's own."""
    return {name: value for name, value in members.items() if name not in _MANAGED}
