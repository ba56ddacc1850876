"""The use cases of the issuers room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.contracts.host.registry import KindUnknown
from certctl_core.contracts.options import ConfigInvalid, SecretNeedsReentry
from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Page, Resource, Transaction
from certctl_core.lifecycle.authorities import KIND as LOCAL_KIND
from certctl_core.lifecycle.authorities import AuthorityService
from certctl_core.lifecycle.issuers._store import COLLECTION
from certctl_core.lifecycle.issuers.errors import (
    ConnectionTestFailed,
    IssuerCannotStart,
    IssuerChanged,
    IssuerIdTaken,
    IssuerInUse,
    IssuerKindUnavailable,
    IssuerManagedElsewhere,
    IssuerNameTaken,
    IssuerNotFound,
    IssuerUnavailable,
    UnknownIssuerKind,
    UnsupportedByIssuer,
)
from certctl_core.lifecycle.issuers.schemas import (
    CAChainView,
    CAKeysView,
    CreateIssuer,
    IssuerBody,
    IssuerKindView,
    IssuerQuery,
    IssuerView,
    PatchIssuer,
    ReportView,
    TryIssuer,
)
from certctl_core.lifecycle.issuers.service import SORTS, IssuerService
from certctl_core.lifecycle.issuers.workflow import IssuerWorkflow

_SAVE_ERRORS = (
    ConfigInvalid,
    IssuerCannotStart,
    IssuerChanged,
    IssuerKindUnavailable,
    IssuerManagedElsewhere,
    IssuerNameTaken,
    IssuerNotFound,
    SecretNeedsReentry,
)


def operations(
    *, service: IssuerService, workflow: IssuerWorkflow, authorities: AuthorityService
) -> tuple[Operation, ...]:
    """Declare issuers, their kinds, tests and CA certificates."""
    return (
        *_reading(service, workflow, authorities),
        *_saving(service, workflow),
        *_testing(workflow),
    )


def _uow(call: Call) -> Uow:
    return cast("Uow", call.uow)


def _scope(call: Call) -> Resource:
    return Resource(issuer_id=call.path["issuer_id"])


def _reading(
    service: IssuerService, workflow: IssuerWorkflow, authorities: AuthorityService
) -> tuple[Operation, ...]:
    def kinds(_call: Call) -> Page[IssuerKindView]:
        listed = service.configs.kinds()
        return Page(data=listed, total=len(listed), size=max(1, len(listed)), number=1)

    def ca_keys(call: Call) -> CAKeysView:
        view = service.get(_uow(call), call.path["issuer_id"])
        if view.kind != LOCAL_KIND:
            raise UnsupportedByIssuer(issuer_id=view.id, capability="CA keys of its own")
        return CAKeysView(data=authorities.keys(view.id))

    def ca_chain(call: Call) -> CAChainView:
        issuer_id = call.path["issuer_id"]
        return workflow.ca_chain(issuer_id, actor=call.actor, request_id=call.request_id)

    return (
        Operation(
            name="issuer_types.list",
            method="GET",
            path="/issuer-types",
            summary="List the kinds of issuers that are installed",
            permission="issuer.read",
            output=IssuerKindView,
            is_list=True,
            is_scoped=True,
            transaction=Transaction.READ,
            run=kinds,
            tags=("issuers",),
        ),
        Operation(
            name="issuer_types.get",
            method="GET",
            path="/issuer-types/{kind}",
            summary="Show a kind of issuer with the schema of its configuration",
            permission="issuer.read",
            resource=lambda _call: Resource(),
            output=IssuerKindView,
            errors=(KindUnknown,),
            transaction=Transaction.READ,
            run=lambda call: service.configs.kind(call.path["kind"]),
            tags=("issuers",),
        ),
        Operation(
            name="issuers.list",
            method="GET",
            path="/issuers",
            summary="List issuers",
            permission="issuer.read",
            query=IssuerQuery,
            output=IssuerView,
            is_list=True,
            is_scoped=True,
            collection=COLLECTION,
            sorts=tuple(SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(
                _uow(call),
                cast("IssuerQuery", call.query),
                scopes=None if call.scopes is None else list(call.scopes),
            ),
        ),
        Operation(
            name="issuers.get",
            method="GET",
            path="/issuers/{issuer_id}",
            summary="Show an issuer; secrets are not shown",
            permission="issuer.read",
            resource=_scope,
            output=IssuerView,
            errors=(IssuerNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(_uow(call), call.path["issuer_id"]),
        ),
        Operation(
            name="issuers.ca_keys",
            method="GET",
            path="/issuers/{issuer_id}/ca",
            summary="List the CA keys of a local issuer with their states and addresses",
            permission="issuer.read",
            resource=_scope,
            output=CAKeysView,
            errors=(IssuerNotFound, UnsupportedByIssuer),
            transaction=Transaction.READ,
            run=ca_keys,
        ),
        Operation(
            name="issuers.ca_chain",
            method="GET",
            path="/issuers/{issuer_id}/ca-chain",
            summary="Show the CA certificates of an issuer, the issuing one first",
            permission="issuer.read",
            resource=_scope,
            output=CAChainView,
            errors=(IssuerNotFound, IssuerUnavailable, UnsupportedByIssuer),
            transaction=Transaction.NONE,
            run=ca_chain,
        ),
    )


def _saving(service: IssuerService, workflow: IssuerWorkflow) -> tuple[Operation, ...]:
    def create(call: Call) -> IssuerView:
        body = cast("CreateIssuer", call.body)
        return workflow.create(body, actor=call.actor, request_id=call.request_id)

    def replace(call: Call) -> IssuerView:
        return workflow.replace(
            call.path["issuer_id"],
            cast("IssuerBody", call.body),
            actor=call.actor,
            request_id=call.request_id,
            if_match=call.if_match,
        )

    def patch(call: Call) -> IssuerView:
        return workflow.patch(
            call.path["issuer_id"],
            cast("PatchIssuer", call.body),
            actor=call.actor,
            request_id=call.request_id,
            if_match=call.if_match,
        )

    def switch(*, enabled: bool) -> Operation:
        verb = "enable" if enabled else "disable"
        effect = "takes orders again" if enabled else "takes no more orders"
        return Operation(
            name=f"issuers.{verb}",
            method="POST",
            path=f"/issuers/{{issuer_id}}/{verb}",
            summary=f"{verb.capitalize()} an issuer: it {effect}",
            permission="issuer.edit",
            resource=_scope,
            output=IssuerView,
            errors=(IssuerChanged, IssuerManagedElsewhere, IssuerNotFound),
            run=lambda call: service.set_enabled(
                _uow(call), call.path["issuer_id"], enabled=enabled
            ),
        )

    return (
        Operation(
            name="issuers.create",
            method="POST",
            path="/issuers",
            summary="Configure an issuer",
            permission="issuer.edit",
            body=CreateIssuer,
            output=IssuerView,
            status=201,
            errors=(
                ConfigInvalid,
                ConnectionTestFailed,
                IssuerCannotStart,
                IssuerIdTaken,
                IssuerKindUnavailable,
                IssuerNameTaken,
                UnknownIssuerKind,
            ),
            transaction=Transaction.NONE,
            run=create,
        ),
        Operation(
            name="issuers.replace",
            method="PUT",
            path="/issuers/{issuer_id}",
            summary="Replace an issuer's settings; omitted secrets are kept",
            permission="issuer.edit",
            resource=_scope,
            body=IssuerBody,
            output=IssuerView,
            errors=_SAVE_ERRORS,
            transaction=Transaction.NONE,
            run=replace,
        ),
        Operation(
            name="issuers.update",
            method="PATCH",
            path="/issuers/{issuer_id}",
            summary="Change some of an issuer's settings",
            permission="issuer.edit",
            resource=_scope,
            body=PatchIssuer,
            output=IssuerView,
            errors=_SAVE_ERRORS,
            transaction=Transaction.NONE,
            run=patch,
        ),
        Operation(
            name="issuers.delete",
            method="DELETE",
            path="/issuers/{issuer_id}",
            summary="Delete an issuer that nothing uses",
            permission="issuer.delete",
            resource=_scope,
            status=204,
            errors=(IssuerChanged, IssuerInUse, IssuerManagedElsewhere, IssuerNotFound),
            is_destructive=True,
            run=lambda call: service.delete(
                _uow(call), call.path["issuer_id"], if_match=call.if_match
            ),
        ),
        switch(enabled=True),
        switch(enabled=False),
    )


def _testing(workflow: IssuerWorkflow) -> tuple[Operation, ...]:
    def test(call: Call) -> ReportView:
        issuer_id = call.path["issuer_id"]
        return workflow.test(issuer_id, actor=call.actor, request_id=call.request_id)

    def try_config(call: Call) -> ReportView:
        body = cast("TryIssuer", call.body)
        return workflow.try_config(body, actor=call.actor, request_id=call.request_id)

    return (
        Operation(
            name="issuers.test",
            method="POST",
            path="/issuers/{issuer_id}/test",
            summary="Test an issuer's connection and settings",
            permission="issuer.edit",
            resource=_scope,
            output=ReportView,
            errors=(IssuerNotFound,),
            transaction=Transaction.NONE,
            run=test,
        ),
        Operation(
            name="issuers.try",
            method="POST",
            path="/issuers/test",
            summary="Test a configuration without saving it",
            permission="issuer.edit",
            body=TryIssuer,
            output=ReportView,
            errors=(
                ConfigInvalid,
                IssuerKindUnavailable,
                IssuerNotFound,
                SecretNeedsReentry,
                UnknownIssuerKind,
            ),
            transaction=Transaction.NONE,
            run=try_config,
        ),
    )
