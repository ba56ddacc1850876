"""The use case of the bulk-revocation room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.operations import Operation, Transaction
from certctl_core.lifecycle.bulk_revocation.errors import CountMismatch
from certctl_core.lifecycle.bulk_revocation.schemas import BulkResult, BulkRevoke
from certctl_core.lifecycle.bulk_revocation.workflow import BulkRevocation
from certctl_core.lifecycle.revocation import BadRevocationReason


def operations(workflow: BulkRevocation) -> tuple[Operation, ...]:
    """Declare the revocation of many."""
    return (
        Operation(
            name="certificates.bulk_revoke",
            method="POST",
            path="/certificates/bulk-revoke",
            summary="Revoke all certificates that match",
            permission="certificate.bulk_revoke",
            is_scoped=True,
            body=BulkRevoke,
            output=BulkResult,
            is_destructive=True,
            errors=(BadRevocationReason, CountMismatch),
            transaction=Transaction.NONE,
            run=lambda call: workflow.run(
                cast("BulkRevoke", call.body),
                scopes=call.scopes,
                actor=call.actor,
                request_id=call.request_id,
            ),
        ),
    )
