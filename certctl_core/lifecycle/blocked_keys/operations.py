"""The use cases of the blocked-keys room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, ListQuery, Operation, Transaction
from certctl_core.lifecycle.blocked_keys.errors import (
    BadDigests,
    BlockedKeyNotFound,
    KeyBlockedAlready,
    KeyListNotFound,
    KeyListTaken,
    NoKeyGiven,
)
from certctl_core.lifecycle.blocked_keys.lists import LIST_SORTS, KeyLists
from certctl_core.lifecycle.blocked_keys.schemas import (
    AddDigests,
    BlockedKeyQuery,
    BlockedKeyView,
    BlockKey,
    CreateKeyList,
    KeyListView,
)
from certctl_core.lifecycle.blocked_keys.service import SORTS, BlockedKeyService

_PATH = "/blocked-keys/{digest}"
_LIST_PATH = "/blocked-key-lists/{name}"


def operations(service: BlockedKeyService, lists: KeyLists) -> tuple[Operation, ...]:
    """Declare what is done with single keys and with lists of them."""
    return (*_keys(service), *_lists(lists))


def _uow(call: Call) -> Uow:
    return cast("Uow", call.uow)


def _keys(service: BlockedKeyService) -> tuple[Operation, ...]:
    return (
        Operation(
            name="blocked_keys.list",
            method="GET",
            path="/blocked-keys",
            summary="List the public keys that are not certified",
            permission="profile.read",
            query=BlockedKeyQuery,
            output=BlockedKeyView,
            is_list=True,
            collection="blocked_keys",
            sorts=tuple(SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(_uow(call), cast("BlockedKeyQuery", call.query)),
        ),
        Operation(
            name="blocked_keys.create",
            method="POST",
            path="/blocked-keys",
            summary="Block a public key",
            permission="profile.edit",
            body=BlockKey,
            output=BlockedKeyView,
            status=201,
            errors=(KeyBlockedAlready, NoKeyGiven),
            run=lambda call: service.block(_uow(call), cast("BlockKey", call.body)),
        ),
        Operation(
            name="blocked_keys.get",
            method="GET",
            path=_PATH,
            summary="Show why a public key is blocked",
            permission="profile.read",
            output=BlockedKeyView,
            errors=(BlockedKeyNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(_uow(call), call.path["digest"]),
        ),
        Operation(
            name="blocked_keys.delete",
            method="DELETE",
            path=_PATH,
            summary="Unblock a public key",
            permission="profile.delete",
            status=204,
            is_destructive=True,
            errors=(BlockedKeyNotFound,),
            run=lambda call: service.unblock(_uow(call), call.path["digest"]),
        ),
    )


def _lists(lists: KeyLists) -> tuple[Operation, ...]:
    return (
        Operation(
            name="blocked_key_lists.list",
            method="GET",
            path="/blocked-key-lists",
            summary="List the lists of weak keys",
            permission="profile.read",
            query=ListQuery,
            output=KeyListView,
            is_list=True,
            collection="blocked_key_lists",
            sorts=tuple(LIST_SORTS),
            transaction=Transaction.READ,
            run=lambda call: lists.page(_uow(call), cast("ListQuery", call.query)),
        ),
        Operation(
            name="blocked_key_lists.create",
            method="POST",
            path="/blocked-key-lists",
            summary="Begin a list of weak keys",
            permission="profile.edit",
            body=CreateKeyList,
            output=KeyListView,
            status=201,
            errors=(KeyListTaken,),
            run=lambda call: lists.create(_uow(call), cast("CreateKeyList", call.body)),
        ),
        Operation(
            name="blocked_key_lists.get",
            method="GET",
            path=_LIST_PATH,
            summary="Show a list of weak keys",
            permission="profile.read",
            output=KeyListView,
            errors=(KeyListNotFound,),
            transaction=Transaction.READ,
            run=lambda call: lists.get(_uow(call), call.path["name"]),
        ),
        Operation(
            name="blocked_key_lists.add",
            method="POST",
            path=f"{_LIST_PATH}/digests",
            summary="Add digests to a list of weak keys",
            permission="profile.edit",
            body=AddDigests,
            output=KeyListView,
            errors=(KeyListNotFound, BadDigests),
            run=lambda call: lists.add(
                _uow(call), call.path["name"], cast("AddDigests", call.body)
            ),
        ),
        Operation(
            name="blocked_key_lists.delete",
            method="DELETE",
            path=_LIST_PATH,
            summary="Delete a list of weak keys",
            permission="profile.delete",
            status=204,
            is_destructive=True,
            errors=(KeyListNotFound,),
            run=lambda call: lists.delete(_uow(call), call.path["name"]),
        ),
    )
