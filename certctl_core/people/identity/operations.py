"""The use cases of the identity room, as data."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Access, Call, Operation, Page, Transaction
from certctl_core.people.access import AccessService, LastAdmin
from certctl_core.people.identity.bootstrap import BootstrapService
from certctl_core.people.identity.errors import (
    APIKeyNameTaken,
    APIKeyNotFound,
    BadCredential,
    BootstrapClosed,
    ExpiryRequired,
    SessionNotFound,
)
from certctl_core.people.identity.keys import KeyService
from certctl_core.people.identity.schemas import (
    APIKeyQuery,
    APIKeyView,
    AuthInfoView,
    Bootstrap,
    BootstrapState,
    BootstrapView,
    CreateAPIKey,
    NewAPIKeyView,
    RotateAPIKey,
    SessionQuery,
    SessionView,
)
from certctl_core.people.identity.sessions import SessionService


def operations(
    *,
    keys: KeyService,
    sessions: SessionService,
    bootstrap: BootstrapService,
    access: AccessService,
) -> tuple[Operation, ...]:
    """Declare API keys, sessions and the bootstrap path."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def session_page(call: Call) -> Page[SessionView]:
        query = cast("SessionQuery", call.query)
        if query.all:
            access.require(uow(call), call.actor, "auth.session.list.all")
        return sessions.page(uow(call), query, actor=None if query.all else call.actor)

    def end_session(call: Call) -> None:
        session_id = call.path["session_id"]
        if sessions.owner_of(uow(call), session_id) != call.actor.id and not access.may(
            uow(call), call.actor, "auth.session.revoke"
        ):
            raise SessionNotFound(session_id=session_id)
        sessions.revoke(uow(call), session_id)

    return (
        Operation(
            name="auth.info",
            method="GET",
            path="/auth/info",
            summary="Show how to sign in",
            access=Access.PUBLIC,
            output=AuthInfoView,
            transaction=Transaction.READ,
            run=lambda _call: AuthInfoView(auth_type="api-key"),
            tags=("auth",),
        ),
        Operation(
            name="auth.bootstrap_state",
            method="GET",
            path="/auth/bootstrap",
            summary="Show whether bootstrapping is open",
            access=Access.PUBLIC,
            output=BootstrapState,
            transaction=Transaction.READ,
            run=lambda call: bootstrap.state(uow(call)),
            tags=("auth",),
        ),
        Operation(
            name="auth.bootstrap",
            method="POST",
            path="/auth/bootstrap",
            summary="Trade the bootstrap token for the first administrator key",
            access=Access.PUBLIC,
            body=Bootstrap,
            output=BootstrapView,
            status=201,
            errors=(BootstrapClosed, BadCredential),
            transaction=Transaction.NONE,
            shows_secret=True,
            max_body=4096,
            run=lambda call: bootstrap.consume(cast("Bootstrap", call.body)),
            tags=("auth",),
        ),
        Operation(
            name="api_keys.list",
            method="GET",
            path="/auth/keys",
            summary="List API keys",
            permission="auth.key.list",
            query=APIKeyQuery,
            output=APIKeyView,
            is_list=True,
            collection="api_keys",
            sorts=("created_at", "name"),
            transaction=Transaction.READ,
            run=lambda call: keys.page(uow(call), cast("APIKeyQuery", call.query)),
            tags=("auth",),
        ),
        Operation(
            name="api_keys.create",
            method="POST",
            path="/auth/keys",
            summary="Create an API key; its value is shown once",
            permission="auth.key.create",
            body=CreateAPIKey,
            output=NewAPIKeyView,
            status=201,
            errors=(ExpiryRequired, APIKeyNameTaken),
            shows_secret=True,
            run=lambda call: keys.create(uow(call), cast("CreateAPIKey", call.body)),
            tags=("auth",),
        ),
        Operation(
            name="api_keys.rotate",
            method="POST",
            path="/auth/keys/{key_id}/rotate",
            summary="Give an API key a new value",
            permission="auth.key.rotate",
            body=RotateAPIKey,
            body_required=False,
            output=NewAPIKeyView,
            errors=(APIKeyNotFound,),
            shows_secret=True,
            run=lambda call: keys.rotate(
                uow(call),
                call.path["key_id"],
                overlap=timedelta(seconds=cast("RotateAPIKey", call.body).overlap_seconds),
            ),
            tags=("auth",),
        ),
        Operation(
            name="api_keys.revoke",
            method="DELETE",
            path="/auth/keys/{key_id}",
            summary="Revoke an API key",
            permission="auth.key.delete",
            status=204,
            is_destructive=True,
            errors=(APIKeyNotFound, LastAdmin),
            run=lambda call: keys.revoke(uow(call), call.path["key_id"]),
            tags=("auth",),
        ),
        Operation(
            name="sessions.list",
            method="GET",
            path="/auth/sessions",
            summary="List your browser sessions, or everybody's",
            access=Access.AUTHENTICATED,
            query=SessionQuery,
            output=SessionView,
            is_list=True,
            sorts=("created_at",),
            transaction=Transaction.READ,
            run=session_page,
            tags=("auth",),
        ),
        Operation(
            name="sessions.revoke",
            method="DELETE",
            path="/auth/sessions/{session_id}",
            summary="End a browser session",
            access=Access.AUTHENTICATED,
            status=204,
            errors=(SessionNotFound,),
            run=end_session,
            tags=("auth",),
        ),
    )
