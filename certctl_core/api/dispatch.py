"""The dispatcher: validate → decide → open the unit of work → call → answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from certctl_core.api import idempotency
from certctl_core.api.errors import BadFields, BadIfMatch, MalformedBody
from certctl_core.api.inputs import refuse_unusable
from certctl_core.api.problems import bad_fields
from certctl_core.api.references import blamed_on_body
from certctl_core.api.table import OperationTable, parameters, wire_names
from certctl_core.kernel.actors import ANONYMOUS, SYSTEM, Actor, ActorType
from certctl_core.kernel.db import JSONRows, Listing, UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import (
    FieldError,
    PayloadTooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from certctl_core.kernel.ids import parse_id
from certctl_core.kernel.operations import (
    NO_SCOPE,
    Accepted,
    Access,
    Call,
    File,
    ListQuery,
    Operation,
    Page,
    Resource,
    Transaction,
    covers,
)
from certctl_core.people.access import PermissionDenied
from certctl_core.values import dataclass

if TYPE_CHECKING:
    from certctl_core.people.access import AccessService

_JSON = "application/json"
_MOST_KNOWN = 256
_MOST_KEPT = 64 * 1024
"""Bytes of a page that is kept; each of the known queries may have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRequest:
    """What a frontend hands over for one operation; nothing in it is trusted.

    Attributes:
        actor: Who was authenticated, or ANONYMOUS.
        path: Raw path parameters by name.
        query: Query parameters in order, decoded.
        body: The undecoded body.
        content_type: Its media type, or empty.
        if_match / if_none_match / idempotency_key: The headers, or empty.
    """

    actor: Actor = ANONYMOUS
    request_id: str = ""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    content_type: str = ""
    if_match: str = ""
    if_none_match: str = ""
    idempotency_key: str = ""
    client_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: bytes and headers, the same for every frontend."""

    status: int
    body: bytes = b""
    media_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()


class _LastRead(NamedTuple):
    """A page as it was last read; without a body where the collection does not rest."""

    stamp: int
    body: bytes | None


@dataclass(slots=True, eq=False)
class _Known:
    """A list and a query that need no second look."""

    again: Callable[[Uow], Page[Any] | None]
    query: ListQuery | None
    last: _LastRead | None = None


class Dispatcher:
    """Runs operations of one table on one installation."""

    def __init__(
        self, table: OperationTable, *, units: UnitOfWorkFactory, access: AccessService
    ) -> None:
        self.table = table
        self._units = units
        self._access = access
        self._stamped: set[str] = set()
        """Lists whose pages bring their version stamp."""
        self._known: dict[tuple[object, ...], _Known] = {}
        """Queries that were validated before, by operation and parameters."""

    def call(
        self,
        name: str,
        *,
        actor: Actor = SYSTEM,
        request_id: str = "",
        path: Mapping[str, str] | None = None,
        query: Mapping[str, object] | BaseModel | None = None,
        body: Mapping[str, object] | BaseModel | None = None,
        if_match: int | None = None,
    ) -> Any:
        """Run one operation from Python and get its view, page or file back.

        Raises:
            KeyError: No such operation.
            CertctlError: Whatever the operation raises; ``BadFields`` for bad input.
        """
        operation = self.table[name]
        _refuse_what_it_does_not_take(operation, path=path or {}, query=query, body=body)
        call = Call(
            actor=actor,
            request_id=request_id,
            now=self._units.clock.now(),
            path=_path(path or {}),
            query=_validated(operation.query, query if query is not None else {}),
            body=_validated(operation.body, body if body is not None else {}),
            if_match=if_match,
        )
        result = self._run(operation, call)
        return result.body if isinstance(result, Accepted) else result

    def http(self, operation: Operation, request: HTTPRequest) -> Answer:
        """Run one operation for a frontend.

        Raises:
            CertctlError: The frontend turns it into a problem document.
        """
        if operation.max_body is not None and len(request.body) > operation.max_body:
            raise PayloadTooLarge
        if operation.is_list:
            known = self._known.get((operation.name, *request.query))
            if known is not None and not request.if_match:
                answer = self._again(operation, known, request)
                if answer is not None:
                    return answer
        call = Call(
            actor=request.actor,
            request_id=request.request_id,
            now=self._units.clock.now(),
            path=_path(request.path),
            query=_query(operation, request.query),
            body=_body(operation, request),
            if_match=_if_match(request.if_match),
            raw_body=request.body,
            client_ip=request.client_ip,
        )
        if request.idempotency_key and operation.method == "POST":
            return self._idempotent(operation, call, request)
        if operation.is_list:
            return self._list(operation, call, request)
        return self._answer(operation, self._run_for_wire(operation, call), request)

    def _run_for_wire(self, operation: Operation, call: Call) -> object:
        with blamed_on_body(call):
            return self._run(operation, call)

    def _run(self, operation: Operation, call: Call) -> object:
        if operation.transaction is Transaction.NONE:
            with self._units.read(call.actor, request_id=call.request_id) as uow:
                allowed = self._allowed(operation, uow, call)
            if allowed.scopes is not None:
                call = replace(allowed, uow=None)
            return operation.run(call)
        with self._transaction(operation, call) as uow:
            return operation.run(self._allowed(operation, uow, call))

    def _transaction(self, operation: Operation, call: Call) -> AbstractContextManager[Uow]:
        if operation.transaction is Transaction.READ:
            return self._units.read(call.actor, request_id=call.request_id)
        return self._units.begin(call.actor, request_id=call.request_id)

    def _allowed(self, operation: Operation, uow: Uow, call: Call) -> Call:
        """The permission check, in the transaction of the act; returns the call with its scopes.

        Having the permission somewhere comes first, so that an actor without it cannot tell an
        unknown id from a foreign one.
        """
        call = replace(call, uow=uow)
        if operation.access is Access.PUBLIC:
            return call
        if call.actor.type is ActorType.ANONYMOUS:
            raise Unauthenticated
        if operation.permission is None:
            return call
        scopes = self._access.scopes(uow, call.actor, operation.permission)
        if scopes is None:
            return call
        call = replace(call, scopes=scopes)
        if operation.is_scoped:
            return call
        resource = operation.resource(call) if operation.resource else NO_SCOPE
        if not covers(scopes, resource):
            raise PermissionDenied(permission=operation.permission)
        return call

    def _list(self, operation: Operation, call: Call, request: HTTPRequest) -> Answer:
        collection = operation.collection
        tag = partial(_list_tag, operation, request)
        stamp = None
        with self._units.read(call.actor, request_id=call.request_id) as uow:
            allowed = self._allowed(operation, uow, call)
            # Rows may be newer than the stamp that they are shown with, never older.
            if collection and (request.if_none_match or operation.name not in self._stamped):
                stamp = uow.stamp(collection)
                if _matches(request.if_none_match, etag := tag(allowed.scopes, stamp)):
                    return Answer(status=304, headers=(("ETag", etag),))
            uow.listing = Listing(collection=collection) if collection else None
            page = operation.run(allowed)
        query = call.query if isinstance(call.query, ListQuery) else None
        if uow.listing is not None and uow.listing.stamp is not None:
            stamp = uow.listing.stamp
            self._stamped.add(operation.name)
            is_one_off = query is None or query.cursor is not None or request.path
            if uow.listing.again is not None and allowed.scopes is None and not is_one_off:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                key = (operation.name, *request.query)
                self._known[key] = _Known(uow.listing.again, query)
        headers = (("ETag", tag(allowed.scopes, stamp)),) if stamp is not None else ()
        assert isinstance(page, Page)  # noqa: S101 - a list operation returns a page
        return Answer(status=200, body=_page_json(page, query), headers=headers)

    def _again(self, operation: Operation, known: _Known, request: HTTPRequest) -> Answer | None:
        """The page of a query that came before; None where it must go the whole way.

        Who asks is looked at as ever; what is left out is the way from the query to the statement,
        and the statement too where the collection's stamp shows that nothing has changed.
        """
        actor = request.actor
        if operation.access is not Access.PUBLIC and actor.type is ActorType.ANONYMOUS:
            raise Unauthenticated
        listing = Listing(collection=operation.collection or "")
        with self._units.read(actor, request_id=request.request_id) as uow:
            permission = operation.permission
            if permission is not None and self._access.scopes(uow, actor, permission) is not None:
                return None
            last = known.last
            is_kept = last is not None and last.body is not None
            now = uow.stamp(listing.collection) if is_kept or request.if_none_match else None
            if now is not None and request.if_none_match:
                etag = _list_tag(operation, request, None, now)
                if _matches(request.if_none_match, etag):
                    return Answer(status=304, headers=(("ETag", etag),))
            if last is not None and last.body is not None and last.stamp == now:
                stamp, body = last.stamp, last.body
            else:
                uow.listing = listing
                page = known.again(uow)
                if page is None or listing.stamp is None:
                    return None
                stamp, body = listing.stamp, _page_json(page, known.query)
                # Kept once it was the same twice: a list that changes all the time costs no more.
                rests = last is not None and last.stamp == stamp and operation.may_rest
                known.last = _LastRead(stamp, body if rests and len(body) <= _MOST_KEPT else None)
        etag = _list_tag(operation, request, None, stamp)
        return Answer(status=200, body=body, headers=(("ETag", etag),))

    def _answer(self, operation: Operation, result: object, request: HTTPRequest) -> Answer:
        status = operation.status
        if isinstance(result, Accepted):
            status, result = result.status, result.body
        if result is None:
            return Answer(status=204 if status == HTTPStatus.OK else status)
        if isinstance(result, File):
            return _file(result, status)
        headers: tuple[tuple[str, str], ...] = ()
        if operation.shows_secret:
            headers = (("Cache-Control", "no-store"),)
        version = getattr(result, "version", None)
        if isinstance(version, int):
            etag = f'"v{version}"'
            headers = (*headers, ("ETag", etag))
            if operation.method == "GET" and _matches(request.if_none_match, etag):
                return Answer(status=304, headers=headers)
        return Answer(status=status, body=to_json(result), headers=headers)

    def _idempotent(self, operation: Operation, call: Call, request: HTTPRequest) -> Answer:
        query = (f"{name}={value}" for name, value in request.query)
        parts = "\0".join((operation.name, *call.path.values(), *query))
        digest = hashlib.sha256(parts.encode() + b"\0" + request.body).hexdigest()
        slot = idempotency.Slot(
            actor_id=call.actor.id,
            key=idempotency.parse_key(request.idempotency_key),
            request_digest=digest,
        )
        stored = idempotency.claim(self._units, slot)
        if stored is not None:
            return Answer(
                status=stored.status,
                body=to_json(stored.body) if stored.body is not None else b"",
                headers=(("Idempotency-Replayed", "true"),),
            )
        call = replace(call, repeat_key=slot.repeat_key)
        try:
            if operation.transaction is Transaction.WRITE:
                return self._kept_with_the_act(operation, call, request, slot)
            answer = self._answer(operation, self._run_for_wire(operation, call), request)
        except BaseException:
            idempotency.release(self._units, slot)
            raise
        idempotency.store(self._units, slot, status=answer.status, body=_kept(operation, answer))
        return answer

    def _kept_with_the_act(
        self, operation: Operation, call: Call, request: HTTPRequest, slot: idempotency.Slot
    ) -> Answer:
        """Act and answer become durable together: a crash leaves both or none."""
        with blamed_on_body(call), self._transaction(operation, call) as uow:
            result = operation.run(self._allowed(operation, uow, call))
            answer = self._answer(operation, result, request)
            idempotency.keep(uow, slot, status=answer.status, body=_kept(operation, answer))
        return answer


def _refuse_what_it_does_not_take(
    operation: Operation, *, path: Mapping[str, str], query: object, body: object
) -> None:
    names = parameters(operation)
    missing = [
        FieldError(field=name, message=f"is missing in path: {operation.path}")
        for name in names
        if name not in path
    ]
    unknown = [
        FieldError(field=name, message=f"is no parameter of {operation.path}")
        for name in path
        if name not in names
    ]
    useless = [
        FieldError(field=part, message=f"is not taken by {operation.name}")
        for part, value, model in (
            ("query", query, operation.query),
            ("body", body, operation.body),
        )
        if value and model is None
    ]
    faults = missing + unknown + useless
    if faults:
        raise BadFields(count=len(faults), fields=faults)


def _path(path: Mapping[str, str]) -> dict[str, str]:
    refuse_unusable(path)
    return {
        name: parse_id(value, field=name) if name.endswith("_id") else value
        for name, value in path.items()
    }


def _validated(model: type[BaseModel] | None, value: object) -> BaseModel | None:
    if model is None:
        return None
    if isinstance(value, model):
        return value
    try:
        valid = model.model_validate(value)
    except ValidationError as error:
        raise bad_fields(error) from error
    refuse_unusable(valid)
    return valid


def _query(operation: Operation, pairs: Sequence[tuple[str, str]]) -> BaseModel | None:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    unknown = sorted(set(names)) if operation.query is None else []
    faults = [FieldError(field=name, message="may be given only once") for name in twice]
    faults += [
        FieldError(field=name, message="is not a parameter of this path") for name in unknown
    ]
    if faults:
        raise BadFields(count=len(faults), fields=faults)
    query = _validated(operation.query, dict(pairs))
    if isinstance(query, ListQuery) and query.fields:
        _refuse_unknown_members(operation, query.fields)
    return query


def _refuse_unknown_members(operation: Operation, fields: str) -> None:
    unknown = _names(fields) - wire_names(operation.output)
    if unknown:
        message = f"{', '.join(sorted(unknown))}: no such member"
        raise BadFields(count=1, fields=[FieldError(field="fields", message=message)])


def _names(fields: str) -> set[str]:
    return {name.strip() for name in fields.split(",")}


def _body(operation: Operation, request: HTTPRequest) -> BaseModel | None:
    if operation.body is None:
        return None
    if not request.body and not operation.body_required:
        return _validated(operation.body, {})
    kind = request.content_type.partition(";")[0].strip().lower()
    if request.body and kind not in {_JSON, "", "application/merge-patch+json"}:
        raise UnsupportedMediaType
    try:
        body = operation.body.model_validate_json(request.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedBody(reason=first["ctx"]["error"]) from error
        raise bad_fields(error) from error
    refuse_unusable(body)
    return body


def _if_match(text: str) -> int | None:
    if not text or text.strip() == "*":
        return None
    tag = text.strip().strip('"')
    if not tag.startswith("v") or not tag[1:].isascii() or not tag[1:].isdigit():
        raise BadIfMatch
    return int(tag[1:])


def _matches(header: str, etag: str) -> bool:
    if not header:
        return False
    if header.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(part.strip().removeprefix("W/") == bare for part in header.split(","))


def _list_tag(
    operation: Operation,
    request: HTTPRequest,
    scopes: Sequence[Resource] | None,
    stamp: int,
) -> str:
    query = repr(sorted(request.query))
    scope = repr(scopes) if scopes is not None else ""
    text = "\0".join((operation.name, str(stamp), query, scope, *request.path.values()))
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'


def _page_json(page: Page[Any], query: ListQuery | None) -> bytes:
    rest: dict[str, Any] = {"total": page.total}
    if not page.total_exact:
        rest["total_exact"] = False
    if page.number is not None:
        rest |= {"page": page.number, "per_page": page.size}
    else:
        rest["page_size"] = page.size
        if page.next_cursor is not None:
            rest["next_cursor"] = page.next_cursor
    wanted = _names(query.fields) if query is not None and query.fields else None
    return b'{"data":%b,%b' % (_rows_json(page.data, wanted), to_json(rest)[1:])


def _rows_json(rows: Sequence[Any], wanted: set[str] | None) -> bytes:
    if isinstance(rows, JSONRows):
        return rows.json(wanted).encode()
    if wanted is None:
        return to_json(list(rows))
    shown = [row.model_dump(mode="json", by_alias=True) for row in rows]
    return to_json([{name: row[name] for name in row if name in wanted} for row in shown])


def _kept(operation: Operation, answer: Answer) -> Any:
    """What a repetition of the request is answered with; never a secret."""
    if operation.shows_secret:
        return {"replayed": True, "detail": "The secret of this answer is shown only once."}
    return json.loads(answer.body) if answer.body and answer.media_type == _JSON else None


def _file(file: File, status: int) -> Answer:
    headers: tuple[tuple[str, str], ...] = ()
    if file.filename:
        headers = (("Content-Disposition", f'attachment; filename="{file.filename}"'),)
    return Answer(status=status, body=file.content, media_type=file.media_type, headers=headers)
