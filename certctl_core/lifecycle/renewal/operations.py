"""The use cases of the renewal room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Accepted, Call, Operation, Resource, Transaction
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    CertificateService,
    WrongState,
)
from certctl_core.lifecycle.issuance import (
    ApprovalRequired,
    CSRRejected,
    IssuancePending,
    IssuedCertificateRejected,
)
from certctl_core.lifecycle.issuance.operations import issued_view
from certctl_core.lifecycle.renewal.errors import NoKeyHolder, RenewalInProgress
from certctl_core.lifecycle.renewal.schemas import RenewalView, RenewCertificate
from certctl_core.lifecycle.renewal.workflow import RenewalWorkflow


def operations(
    *,
    workflow: RenewalWorkflow,
    certificates: CertificateService,
) -> tuple[Operation, ...]:
    """Declare the renewal of one certificate."""

    def renew(call: Call) -> RenewalView | Accepted:
        result = workflow.renew(
            call.path["certificate_id"],
            cast("RenewCertificate", call.body),
            actor=call.actor,
            request_id=call.request_id,
        )
        if isinstance(result, list):
            view = RenewalView(status="renewal_triggered", job_ids=result)
            return Accepted(status=202, body=view)
        return RenewalView(status="issued", issued=issued_view(result))

    def scope(call: Call) -> Resource:
        return certificates.resource(cast("Uow", call.uow), call.path["certificate_id"])

    return (
        Operation(
            name="certificates.renew",
            method="POST",
            path="/certificates/{certificate_id}/renew",
            summary="Renew a certificate: from a CSR at once, or by the agent that holds the key",
            permission="certificate.issue",
            resource=scope,
            body=RenewCertificate,
            body_required=False,
            output=RenewalView,
            also_statuses=(202,),
            errors=(
                CertificateNotFound,
                WrongState,
                NoKeyHolder,
                RenewalInProgress,
                CSRRejected,
                ApprovalRequired,
                IssuancePending,
                IssuedCertificateRejected,
            ),
            transaction=Transaction.NONE,
            run=renew,
        ),
    )
