"""The decision about one order: CSR and key rules → names → profile → approval gate."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.blocked_keys import BlockedKeyService, KeyLists
from certctl_core.lifecycle.certificates import (
    CertificateService,
    CertificateView,
    NoVersionYet,
    parse_names,
)
from certctl_core.lifecycle.issuance.errors import ApprovalRequired
from certctl_core.lifecycle.issuance.requests import issue_request, raise_refusals
from certctl_core.lifecycle.issuance.results import Order
from certctl_core.lifecycle.issuance.rules import decide
from certctl_core.lifecycle.issuance.types import JobRef
from certctl_core.lifecycle.issuers import IssuerService
from certctl_core.lifecycle.profiles import (
    ProfileService,
    ProfileView,
    choose_attributes,
    validity,
)
from certctl_core.pki.x509 import CSRInfo

ApprovalGate = Callable[[Uow, CertificateView, ProfileView, JobRef | None], None]


def refuse_unapproved(
    _uow: Uow, _view: CertificateView, profile: ProfileView, _job: JobRef | None
) -> None:
    """The gate while no approvals room is installed: fail closed.

    Raises:
        ApprovalRequired: The profile demands a second person.
    """
    if profile.requires_approval:
        raise ApprovalRequired(profile_id=profile.id)


class Decisions:
    """Says yes with an order, or no with an error.

    Args:
        certificates: Knows the key in use.
        profiles: What may be issued.
        issuers: By whom.
        blocked_keys: For which keys never.
        key_lists: And for which, because others found them weak.
        gate: Whether a second person has agreed.
    """

    def __init__(
        self,
        *,
        certificates: CertificateService,
        profiles: ProfileService,
        issuers: IssuerService,
        blocked_keys: BlockedKeyService,
        key_lists: KeyLists,
        gate: ApprovalGate,
    ) -> None:
        self._blocked_keys = blocked_keys
        self._key_lists = key_lists
        self._certificates = certificates
        self._profiles = profiles
        self._issuers = issuers
        self.gate = gate

    def decide(
        self,
        uow: Uow,
        view: CertificateView,
        csr: CSRInfo,
        order_id: str,
        *,
        kind: str,
        job: JobRef | None = None,
        repeat_key: str = "",
    ) -> Order:
        """Decide about one order; nothing is stored.

        Args:
            uow: For what is not in memory.
            view: The certificate that it is for.
            csr: The parsed request.
            order_id: Its id.
            kind: ``issue`` or ``renew``.
            job: On whose behalf.
            repeat_key: The same for every repetition of one request; "" for none.

        Raises:
            CSRRejected: A rule refuses.
            ApprovalRequired: As of the gate.
            ProfileNotFound, IssuerNotFound, IssuerDisabled: As their names say.
        """
        profile = self._profiles.resolve(uow, view.certificate_profile_id)
        issuer = self._issuers.require_usable(uow, view.issuer_id)
        names = parse_names(view.common_name, view.sans)
        kept = None
        if profile.reuse_key and view.current_version_id is not None:
            kept = self._key_in_use(uow, view.id, job.agent_id if job else None)
        blocked = self._blocked_keys.is_blocked(uow, csr.spki_sha256)
        weak = self._key_lists.find(uow, csr.public_key)
        verdicts = decide(
            csr, names, profile, key_in_use=kept, key_is_blocked=blocked, weak_key_list=weak
        )
        attributes, said = choose_attributes(profile, csr.attributes)
        verdicts += said
        raise_refusals(verdicts)
        self.gate(uow, view, profile, job)
        ekus = tuple(csr.ekus) or tuple(profile.allowed_ekus)
        lifetime = validity(profile, self._issuers.default_validity(issuer.id))
        idempotency_key = repeat_key or str(uuid.uuid4())
        entry: dict[str, Any] = {
            "decision": verdicts,
            "issuer_id": view.issuer_id,
            "certificate_id": view.id,
            "job_id": job.job_id if job else None,
            "agent_id": job.agent_id if job else None,
            "kind": kind,
            "idempotency_key": idempotency_key,
            "csr_sha256": hashlib.sha256(csr.der).hexdigest(),
            "request": {
                "common_name": view.common_name,
                "names": [f"{name.type.value}:{name.value}" for name in names],
                "ekus": list(ekus),
                "validity_seconds": int(lifetime.total_seconds()),
                "profile_id": profile.id,
                "profile_version": profile.version,
                "spki_sha256": csr.spki_sha256,
            },
        }
        request = issue_request(
            view, csr, names, profile, ekus, lifetime, order_id, idempotency_key, attributes
        )
        if attributes:
            entry["request"]["subject"] = request.subject
        return Order(
            order_id=order_id,
            view=view,
            profile=profile,
            names=names,
            csr=csr,
            ekus=ekus,
            lifetime=lifetime,
            request=request,
            job=job,
            entry=entry,
        )

    def _key_in_use(self, uow: Uow, certificate_id: str, agent_id: str | None) -> str | None:
        """The public key to keep; None for a holder that has no version yet."""
        try:
            version = self._certificates.current_version(uow, certificate_id, agent_id=agent_id)
        except NoVersionYet:
            return None
        return version.spki_sha256
