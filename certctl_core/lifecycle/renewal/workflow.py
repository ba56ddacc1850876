"""Renewing one certificate: from a CSR at once, or by the agent that holds the key."""

from __future__ import annotations

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.lifecycle.issuance import IssuanceWorkflow, IssuedCertificate
from certctl_core.lifecycle.renewal.schemas import RenewCertificate
from certctl_core.lifecycle.renewal.service import RenewalService


class RenewalWorkflow:
    """The use case behind ``POST /certificates/{id}/renew``."""

    def __init__(
        self, *, units: UnitOfWorkFactory, service: RenewalService, issuance: IssuanceWorkflow
    ) -> None:
        self._units = units
        self._service = service
        self._issuance = issuance

    def renew(
        self, certificate_id: str, body: RenewCertificate, *, actor: Actor, request_id: str
    ) -> IssuedCertificate | list[str]:
        """Renew; returns what was issued, or the ids of the jobs that await CSRs.

        Raises:
            CertificateNotFound, WrongState, NoKeyHolder, RenewalInProgress: As named.
            CSRRejected and the other refusals of ``IssuanceWorkflow.issue``.
        """
        if body.csr_pem is not None:
            return self._issuance.issue(
                certificate_id=certificate_id,
                csr_pem=body.csr_pem,
                actor=actor,
                request_id=request_id,
            )
        with self._units.begin(actor, request_id=request_id) as uow:
            return self._service.request(uow, certificate_id, force=body.force)
