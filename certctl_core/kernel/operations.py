"""The ``Operation``: one use case, declared once, from which every surface is made.

A room's ``operations.py`` offers ``operations(service, …) -> tuple[Operation, ...]``. From the table
come the REST routes, their authentication class, OpenAPI, the typed client, CLI parity and the tests
that walk all of them (DESIGN §3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.errors import CertctlError, FieldError, Invalid, PreconditionFailed
from certctl_core.kernel.json_merge import merged
from certctl_core.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")
_ATTEMPTS = 4


class Access(StrEnum):
    """The route class (spec 05 PIPE-1)."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    GATED = "gated"


class Transaction(StrEnum):
    """What the dispatcher opens around the callable."""

    READ = "read"
    WRITE = "write"
    NONE = "none"


class Input(BaseModel):
    """Base of request bodies: unknown members are refused (spec 01 API-08)."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, frozen=True, defer_build=True
    )


def unless_matched(if_match: int | None, change: Callable[[], Result]) -> Result:
    """Make a change that was first tried on the row's version of that moment.

    Where the caller named no version, another change in between is no reason to refuse: it is tried
    again on what is there now.

    Raises:
        PreconditionFailed: The row is not of the version that the caller named, or is never at rest.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except PreconditionFailed:
            if if_match is not None:
                raise
    return change()


def patch_of(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The merge-patch form of a body model: every member optional, unknown ones refused.

    Which members were sent is in ``model_fields_set``; null clears, also inside of an object
    (spec 01 API-15, RFC 7396).
    """
    members: dict[str, Any] = {
        field_name: (
            _clearable(info.annotation) | None,
            Field(None, description=info.description),
        )
        for field_name, info in model.model_fields.items()
    }
    return create_model(name, __base__=Input, **members)


def _clearable(annotation: Any) -> Any:
    """The type of a member whose own members may be null."""
    if get_origin(annotation) is not dict:
        return annotation
    key, value = get_args(annotation)
    return dict[key, value | None]  # type: ignore[valid-type] # known at run time only


def merge_patch(model: type[Model], current: BaseModel, patch: BaseModel) -> Model:
    """The full body that ``patch`` makes of ``current``, validated by ``model``.

    Raises:
        Invalid: The result is not valid; the fields are named.
    """
    members = {
        name: getattr(current, name) for name in model.model_fields if hasattr(current, name)
    }
    changes = {
        name: merged(members.get(name), getattr(patch, name)) for name in patch.model_fields_set
    }
    whole = {
        name: value.model_dump() if isinstance(value, BaseModel) else value
        for name, value in (members | changes).items()
        if not (value is None and name in changes and _has_default(model, name))
    }
    try:
        return model.model_validate(whole)
    except ValidationError as error:
        raise Invalid(fields=field_errors(error)) from error


def field_errors(error: ValidationError) -> list[FieldError]:
    """Every fault of a pydantic validation, with dotted paths and without the values."""
    return [
        FieldError(
            field=".".join(str(part) for part in item["loc"]) or "body",
            message=item["msg"].removeprefix("Value error, "),
        )
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _has_default(model: type[BaseModel], name: str) -> bool:
    return name in model.model_fields and not model.model_fields[name].is_required()


class View(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ListQuery(BaseModel):
    """The query parameters that every list takes (spec 01 API-09 … API-13).

    ``page_size`` or ``cursor`` choose keyset paging; otherwise ``page``/``per_page`` apply.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    page: int = Field(1, ge=1, description="Page number, from 1 (offset paging).")
    per_page: int = Field(50, ge=1, le=500, description="Rows a page (offset paging).")
    page_size: int | None = Field(None, ge=1, le=500, description="Rows a page (cursor paging).")
    cursor: str | None = Field(None, max_length=2048, description="`next_cursor` of the last page.")
    sort: str | None = Field(None, max_length=64, description="Field to sort by; `-` descends.")
    fields: str | None = Field(None, max_length=1024, description="Keep only these row members.")
    q: str | None = Field(None, max_length=256, description="Text to search for.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Model]):
    """One page of a list.

    Attributes:
        data: The rows, in order.
        total: Rows that match the filter; capped where ``total_exact`` is false.
        next_cursor: Where the next page starts, or None on the last one; keyset paging only.
        size: Rows asked for.
        number: The page number with offset paging, or None with keyset paging.
    """

    data: Sequence[Model]
    total: int
    total_exact: bool = True
    next_cursor: str | None = None
    size: int = 50
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The scopes that an object carries for the access decision (spec 05 RBAC-14)."""

    profile_id: str | None = None
    issuer_id: str | None = None


NO_SCOPE = Resource()


def covers(scopes: Sequence[Resource] | None, resource: Resource) -> bool:
    """Whether a permission that is limited to ``scopes`` reaches an object (spec 05 RBAC-13).

    Args:
        scopes: Where it is held; None for everywhere.
        resource: The scopes of the object; one of them is enough.
    """
    if scopes is None:
        return True
    return any(
        (scope.profile_id is not None and scope.profile_id == resource.profile_id)
        or (scope.issuer_id is not None and scope.issuer_id == resource.issuer_id)
        for scope in scopes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything an operation's callable is given. ``uow`` is a ``kernel.db.Uow``.

    Attributes:
        uow: The open unit of work; with ``Transaction.NONE`` it is None and the callable is a
            workflow that opens its own.
        path: Path parameters by name, already checked as ids where the name ends in ``_id``.
        query: The validated query model (``ListQuery`` for lists) or None.
        body: The validated body model or None.
        if_match: The row version that ``If-Match`` demands, or None.
        scopes: None when the actor's permission is global, else the resources it is limited to:
            lists filter by it, and a change must not lead out of it (``covers``).
        raw_body: The undecoded body, for operations with ``raw=True``.
        repeat_key: The same for every repetition of one request that came with an
            ``Idempotency-Key``, else empty: a workflow of several transactions records it with
            what it did, so that a repetition after a crash finds it.
    """

    actor: Actor
    request_id: str
    now: datetime
    uow: object = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: BaseModel | None = None
    body: BaseModel | None = None
    if_match: int | None = None
    scopes: Sequence[Resource] | None = None
    raw_body: bytes = b""
    client_ip: str = ""
    repeat_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An answer that is bytes rather than JSON."""

    content: bytes
    media_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An answer whose status differs from the operation's own (e.g. 202 instead of 201)."""

    status: int
    body: BaseModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One use case.

    Attributes:
        name: ``<plural noun>.<verb>``, unique; the CLI and the client use it.
        method: HTTP verb.
        path: Below ``/api/v1``, with ``{name_id}`` parameters.
        summary: One line, shown in OpenAPI and docs.
        run: ``run(call) -> View | Page | File | Accepted | None``; None answers 204.
        permission: Needed permission for ``Access.GATED``.
        resource: ``resource(call) -> Resource``: the scopes of the object acted on, looked up in
            the same transaction before ``run``; None means that only a global grant will do.
        is_scoped: A list without ``resource`` that filters by ``call.scopes``: a grant for some
            objects will do as well.
        body / query / output: pydantic models; ``output`` is the row model when ``is_list``.
        status: Status of success.
        errors: Errors a caller should expect beyond the general ones.
        collection: Name of the version stamp for list ETags.
        may_rest: Whatever its rows show moves that stamp: a page may be sent again while it stands.
        sorts: Sort fields a list takes.
        media_type: Of a ``File`` answer.
        shows_secret: The answer carries a shown-once secret: never stored for idempotent replay.
        is_destructive: Asks for confirmation in CLI and UI.
        max_body: Bytes; None takes the server's general cap.
    """

    name: str
    method: str
    path: str
    summary: str
    run: Callable[[Call], object]
    access: Access = Access.GATED
    permission: str | None = None
    resource: Callable[[Call], Resource] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: type[BaseModel] | None = None
    output: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[type[CertctlError], ...] = ()
    transaction: Transaction = Transaction.WRITE
    is_list: bool = False
    is_scoped: bool = False
    collection: str | None = None
    may_rest: bool = False
    sorts: tuple[str, ...] = ()
    media_type: str = "application/json"
    also_statuses: tuple[int, ...] = ()
    shows_secret: bool = False
    is_destructive: bool = False
    max_body: int | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a declaration that no surface could serve."""
        if (self.access is Access.GATED) != (self.permission is not None):
            message = (
                f"operation {self.name}: a permission belongs to gated operations, and only them"
            )
            raise TypeError(message)
