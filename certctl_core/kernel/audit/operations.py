"""The use cases of the audit log, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.audit.errors import (
    AuditEventNotFound,
    AuditEventNotSealed,
    AuditLogEmpty,
    BadTimeRange,
    BadTreeRange,
    VerifiedJustNow,
)
from certctl_core.kernel.audit.export import export
from certctl_core.kernel.audit.schemas import (
    AuditEventView,
    AuditQuery,
    CheckpointView,
    ConsistencyQuery,
    ConsistencyView,
    ExportQuery,
    ProofView,
    VerifyReport,
    VerifyRequest,
)
from certctl_core.kernel.audit.service import SORTS
from certctl_core.kernel.audit.workflow import AuditLog
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.operations import Call, File, Operation, Transaction


def operations(audit: AuditLog, units: UnitOfWorkFactory) -> tuple[Operation, ...]:
    """Declare list, get, checkpoint, proof, consistency, verify and export."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def consistency(call: Call) -> ConsistencyView:
        query = cast("ConsistencyQuery", call.query)
        return audit.consistency(uow(call), query.first, query.second)

    def verify(call: Call) -> VerifyReport:
        body = cast("VerifyRequest | None", call.body) or VerifyRequest()
        return audit.verify_on_request(
            units, full=body.full, actor=call.actor, request_id=call.request_id
        )

    def export_file(call: Call) -> File:
        query = cast("ExportQuery", call.query)
        return export(audit, units, query, actor=call.actor, request_id=call.request_id)

    return (
        Operation(
            name="audit.list",
            method="GET",
            path="/audit",
            summary="List audit events",
            permission="audit.read",
            query=AuditQuery,
            output=AuditEventView,
            errors=(BadTimeRange,),
            is_list=True,
            is_scoped=True,
            collection="audit",
            sorts=SORTS,
            transaction=Transaction.READ,
            run=lambda call: audit.list(
                uow(call), cast("AuditQuery", call.query), scopes=call.scopes
            ),
        ),
        Operation(
            name="audit.checkpoint",
            method="GET",
            path="/audit/checkpoint",
            summary="Show the newest signed checkpoint of the audit log",
            permission="audit.read",
            output=CheckpointView,
            errors=(AuditLogEmpty,),
            transaction=Transaction.READ,
            run=lambda call: audit.checkpoint(uow(call)),
        ),
        Operation(
            name="audit.consistency",
            method="GET",
            path="/audit/consistency",
            summary="Prove that the audit log has only grown between two sizes",
            permission="audit.read",
            query=ConsistencyQuery,
            output=ConsistencyView,
            errors=(AuditLogEmpty, BadTreeRange),
            transaction=Transaction.READ,
            run=consistency,
        ),
        Operation(
            name="audit.verify",
            method="POST",
            path="/audit/verify",
            summary="Verify the audit log now",
            permission="audit.read",
            body=VerifyRequest,
            body_required=False,
            output=VerifyReport,
            errors=(VerifiedJustNow,),
            transaction=Transaction.NONE,
            run=verify,
        ),
        Operation(
            name="audit.export",
            method="GET",
            path="/audit/export",
            summary="Export audit events with the proof that they are in the log",
            permission="audit.export",
            query=ExportQuery,
            errors=(BadTimeRange,),
            transaction=Transaction.NONE,
            media_type="application/x-ndjson",
            run=export_file,
        ),
        Operation(
            name="audit.get",
            method="GET",
            path="/audit/{event_id}",
            summary="Show an audit event",
            permission="audit.read",
            output=AuditEventView,
            errors=(AuditEventNotFound,),
            transaction=Transaction.READ,
            run=lambda call: audit.get(uow(call), call.path["event_id"]),
        ),
        Operation(
            name="audit.proof",
            method="GET",
            path="/audit/{event_id}/proof",
            summary="Prove that an event is in the audit log",
            permission="audit.read",
            output=ProofView,
            errors=(AuditEventNotFound, AuditEventNotSealed),
            transaction=Transaction.READ,
            run=lambda call: audit.proof(uow(call), call.path["event_id"]),
        ),
    )
