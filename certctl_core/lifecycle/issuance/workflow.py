"""The one issuance choke point: every certificate passes through here (DESIGN §3.2).

1. read: certificate, profile, policy, issuer;
2. decide: CSR and key rules → names → profile → approval gate; any refusal stores nothing new;
3. record: the order with its decision, committed before anything is signed;
4. call the issuer, outside any transaction;
5. verify what came back against what was asked for;
6. store: ledger row, version, order and certificate state in one transaction;
7. hand out.

A crash between 3 and 6 leaves an order in ``submitting``; :meth:`IssuanceWorkflow.recover` settles it.
Nothing is handed out before step 6 has committed, so no unknown certificate exists.

A new certificate of our own CA, whose key is in this process, skips step 3: its signature cannot
leave the process before step 6, which then writes certificate, order, version and ledger at once.
A crash before that commit leaves nothing behind. Whatever goes wrong is written down like a failed
order of the long way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import structlog
from sqlalchemy.engine import Row

from certctl_core.contracts.issuers import Issued, Pending
from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import Group, UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.ids import Prefix, new_id
from certctl_core.lifecycle.authorities import AuthorityService, SerialAlreadyIssued
from certctl_core.lifecycle.blocked_keys import BlockedKeyService, KeyLists
from certctl_core.lifecycle.certificates import (
    CertificateNameTaken,
    CertificateService,
    CertificateView,
    CreateCertificate,
    DraftCertificate,
    IssuedVersion,
    Source,
    Status,
    VersionAlreadyStored,
    VersionView,
    WrongState,
)
from certctl_core.lifecycle.issuance import _store
from certctl_core.lifecycle.issuance.decisions import ApprovalGate, Decisions, refuse_unapproved
from certctl_core.lifecycle.issuance.errors import (
    CommonNameMissing,
    IssuancePending,
    IssuedCertificateRejected,
    OrderInProgress,
)
from certctl_core.lifecycle.issuance.events import CertificateRejected, OrderInterrupted
from certctl_core.lifecycle.issuance.measures import count_failed, count_issued
from certctl_core.lifecycle.issuance.requests import (
    parse,
    with_csr_names,
)
from certctl_core.lifecycle.issuance.results import (
    IssuedCertificate,
    NotAsAskedFor,
    Order,
    handed_out,
    verified,
)
from certctl_core.lifecycle.issuance.types import OPEN, JobRef, OrderState
from certctl_core.lifecycle.issuers import IssuerService
from certctl_core.lifecycle.policies import RenewalPolicyService
from certctl_core.lifecycle.profiles import ProfileService
from certctl_core.pki.chain import key_id_of
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import (
    CSRInfo,
    parse_certificate,
    to_pem,
)
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.issuance")
_SERIAL_ATTEMPTS = 3
"""How often a serial may be taken already before the random source counts as broken."""

_IN_PROCESS = frozenset({"file", "memory"})
"""Signers whose keys sign in this very process: nothing outside learns of a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intake:
    """A certificate to create and to issue at once."""

    body: CreateCertificate
    csr: CSRInfo
    source: Source
    repeat_key: str


_Made = TypeVar("_Made", CertificateView, Order)
_Stored = TypeVar("_Stored", IssuedCertificate, None)


class IssuanceWorkflow:
    """Issues certificates for managed certificates; see the module's numbered steps."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        certificates: CertificateService,
        profiles: ProfileService,
        policies: RenewalPolicyService,
        issuers: IssuerService,
        authorities: AuthorityService,
        blocked_keys: BlockedKeyService,
        key_lists: KeyLists,
        approval_gate: ApprovalGate = refuse_unapproved,
    ) -> None:
        self._units = units
        self._certificates = certificates
        self._profiles = profiles
        self._policies = policies
        self._issuers = issuers
        self._authorities = authorities
        self._decisions = Decisions(
            certificates=certificates,
            profiles=profiles,
            issuers=issuers,
            blocked_keys=blocked_keys,
            key_lists=key_lists,
            gate=approval_gate,
        )
        self._on_issued: list[Callable[[Uow, VersionView, JobRef | None], None]] = []
        self._on_interrupted: list[Callable[[Uow, str], None]] = []
        self._intake = Group(units, self._take_in)
        self._storing = Group(units, self._store)
        self._storing_new = Group(units, self._store_new)

    def on_issued(self, action: Callable[[Uow, VersionView, JobRef | None], None]) -> None:
        """A room joins the storing transaction (finish the job, queue deployments)."""
        self._on_issued.append(action)

    def on_interrupted(self, action: Callable[[Uow, str], None]) -> None:
        """Whoever waits for a job hears, in the settling transaction, that its order died."""
        self._on_interrupted.append(action)

    def create(
        self,
        body: CreateCertificate,
        *,
        actor: Actor,
        request_id: str,
        source: Source = Source.API,
    ) -> CertificateView:
        """Record a managed certificate that waits for its first CSR.

        Raises:
            CommonNameMissing, BadName, CertificateNameTaken: As named.
            ProfileNotFound, RenewalPolicyNotFound, IssuerNotFound: A reference leads nowhere.
        """
        if body.common_name is None:
            raise CommonNameMissing

        def create(body: CreateCertificate) -> CertificateView:
            with self._units.begin(actor, request_id=request_id) as uow:
                return self._new(uow, body, source)

        return self._with_free_name(body, create)

    def _new(self, uow: Uow, body: CreateCertificate, source: Source) -> CertificateView:
        issuer = self._issuers.require_usable(uow, body.issuer_id or "iss-local")
        self._profiles.resolve(uow, body.certificate_profile_id)
        self._policies.resolve(uow, body.renewal_policy_id)
        return self._certificates.create(uow, body, issuer_id=issuer.id, source=source)

    def _with_free_name(
        self, body: CreateCertificate, run: Callable[[CreateCertificate], _Made]
    ) -> _Made:
        """Run with the common name as name; if another has it, with a suffix that nobody has."""
        try:
            return run(body)
        except CertificateNameTaken:
            if body.name is not None or body.id is not None:
                raise
        return run(body.model_copy(update={"name": self._free_name(body.common_name or "")}))

    def _free_name(self, common_name: str) -> str:
        suffix = new_id(Prefix.CERTIFICATE, at=self._units.clock.now())[-8:]
        return f"{common_name[:240]}-{suffix}"

    def create_and_issue(
        self,
        body: CreateCertificate,
        csr_pem: str,
        *,
        actor: Actor,
        request_id: str,
        source: Source = Source.API,
        repeat_key: str = "",
    ) -> IssuedCertificate:
        """Record a new managed certificate and issue it from the CSR.

        A request with the ``repeat_key`` of an earlier one whose answer was lost goes on with the
        certificate of that one.

        Raises:
            PKIError subclasses as CSRRejected; CommonNameMissing; CertificateNameTaken; the
            issuer's typed errors. A refused request leaves no certificate row behind; a failed
            issuer leaves one in state Failed with the reason.
        """
        csr = parse(csr_pem)
        body = with_csr_names(body, csr)

        if repeat_key:
            with self._units.read(actor, request_id=request_id) as uow:
                earlier = _store.repeated(uow, repeat_key)
            if earlier is not None and earlier.is_recent:
                return self._go_on(earlier, csr_pem, actor, request_id)
            repeat_key = "" if earlier is not None else repeat_key

        intake = _Intake(body=body, csr=csr, source=source, repeat_key=repeat_key)
        planned = self._plan(intake, actor, request_id)
        if planned is not None:
            return self._carry_out(planned, actor, request_id)

        def take_in(body: CreateCertificate) -> Order:
            return self._intake.run(replace(intake, body=body), actor=actor, request_id=request_id)

        order = self._with_free_name(body, take_in)
        return self._carry_out(order, actor, request_id)

    def _take_in(self, uow: Uow, request: _Intake) -> Order:
        uow.commit_softly()  # the commit of the certificate comes after it in the same log
        view = self._new(uow, request.body, request.source)
        return self._record(
            uow, view, request.csr, job=None, kind="issue", repeat_key=request.repeat_key
        )

    def _go_on(
        self, earlier: Row[Any], csr_pem: str, actor: Actor, request_id: str
    ) -> IssuedCertificate:
        """Answer a request that was already carried out, or begun by a process that died."""
        certificate_id = earlier.certificate_id
        if earlier.state in OPEN:
            raise OrderInProgress(order_id=earlier.id)
        if earlier.state == OrderState.ISSUED:
            with self._units.read(actor, request_id=request_id) as uow:
                view = self._certificates.get(uow, certificate_id)
                version = self._certificates.version(uow, certificate_id, earlier.result_version_id)
            return handed_out(view, version)
        return self.issue(
            certificate_id=certificate_id, csr_pem=csr_pem, actor=actor, request_id=request_id
        )

    def issue(
        self,
        *,
        certificate_id: str,
        csr_pem: str,
        actor: Actor,
        request_id: str,
        job: JobRef | None = None,
    ) -> IssuedCertificate:
        """Issue a new version of an existing managed certificate.

        The same CSR sent again for the same job, or without a job within a day, answers the same
        version again.

        Raises:
            CertificateNotFound, WrongState: Unknown, revoked, archived or in progress.
            CSRRejected, ApprovalRequired, OrderInProgress: Refused before anything is signed.
            IssuancePending: The issuer answers later.
            IssuedCertificateRejected: The issuer returned something else.
        """
        csr = parse(csr_pem)
        digest = hashlib.sha256(csr.der).hexdigest()
        with self._units.begin(actor, request_id=request_id) as uow:
            # Locked first: the twin of this request that was quicker is then seen as finished.
            self._certificates.lock(uow, certificate_id)
            view = self._certificates.get(uow, certificate_id)
            job_id = job.job_id if job else None
            done = _store.finished(uow, certificate_id, digest, job_id=job_id)
            if done is not None and view.status not in {Status.REVOKED, Status.ARCHIVED}:
                version = self._certificates.version(uow, certificate_id, done)
                return handed_out(view, version)
            if view.status is not Status.RENEWING or job is None:
                view = self._certificates.begin_renewal(uow, certificate_id)
            kind = "renew" if view.current_version_id else "issue"
            order = self._record(uow, view, csr, job=job, kind=kind)
        return self._carry_out(order, actor, request_id)

    def recover(self, *, everything: bool = False) -> int:
        """Settle orders whose process died at the issuer; returns how many.

        A version that reached the database counts as issued; otherwise nothing left the process
        and the order failed: the certificate returns to what its dates say.

        Args:
            everything: True when no other process can hold an order (single-machine start).
        """
        settled = 0
        with self._units.begin() as uow:
            for row in _store.abandoned(uow, everything=everything):
                message = "the process ended while the order was with the issuer"
                if not _store.move(
                    uow,
                    row.id,
                    OrderState.FAILED,
                    last_error=message,
                    error_class="interrupted",
                ):
                    continue
                if row.job_id is None:
                    self._certificates.end_failed(
                        uow, row.certificate_id, code="interrupted", message=message
                    )
                else:
                    for action in self._on_interrupted:
                        action(uow, row.job_id)
                uow.emit(
                    OrderInterrupted(
                        resource_id=row.id, certificate_id=row.certificate_id, outcome="failed"
                    )
                )
                settled += 1
        return settled

    def _plan(self, intake: _Intake, actor: Actor, request_id: str) -> Order | None:
        """Decide about a new certificate that is signed in this process; None for any other."""
        body = intake.body
        issuer_id = body.issuer_id or "iss-local"
        if not self._signs_here(issuer_id):
            return None
        now = self._units.clock.now()
        with self._units.read(actor, request_id=request_id) as uow:
            self._issuers.require_usable(uow, issuer_id)
            if self._profiles.resolve(uow, body.certificate_profile_id).requires_approval:
                return None
            self._policies.resolve(uow, body.renewal_policy_id)
            draft = self._certificates.draft(
                body,
                new_id(Prefix.CERTIFICATE, at=now),
                issuer_id=issuer_id,
                source=intake.source,
                now=now,
            )
            order = self._decisions.decide(
                uow,
                draft.view,
                intake.csr,
                new_id(Prefix.ORDER, at=now),
                kind="issue",
                repeat_key=intake.repeat_key,
            )
        order.draft = draft
        return order

    def _signs_here(self, issuer_id: str) -> bool:
        """Whether the key that would sign is in this process, not behind a token or a service."""
        if not self._issuers.is_local(issuer_id):
            return False
        key = self._authorities.find_current(issuer_id)
        return key is not None and key.signer in _IN_PROCESS

    def _record(
        self,
        uow: Uow,
        view: CertificateView,
        csr: CSRInfo,
        *,
        job: JobRef | None,
        kind: str,
        repeat_key: str = "",
    ) -> Order:
        order_id = uow.new_id(Prefix.ORDER)
        order = self._decisions.decide(
            uow, view, csr, order_id, job=job, kind=kind, repeat_key=repeat_key
        )
        _store.record(uow, order_id, **order.entry)
        return order

    def _carry_out(self, order: Order, actor: Actor, request_id: str) -> IssuedCertificate:
        begun = self._units.clock.monotonic()
        done = self._carried_out(order, actor, request_id)
        issuer_type = self._issuers.kind_of(order.view.issuer_id)
        count_issued(issuer_type, self._units.clock.monotonic() - begun)
        return done

    def _carried_out(self, order: Order, actor: Actor, request_id: str) -> IssuedCertificate:
        for attempt in range(_SERIAL_ATTEMPTS):
            try:
                issued = self._call(order, actor, request_id)
                if order.draft is None:
                    return self._storing.run((order, issued), actor=actor, request_id=request_id)
                return self._finish(order, issued, actor, request_id)
            except SerialAlreadyIssued as error:
                if attempt + 1 == _SERIAL_ATTEMPTS:
                    self._failed(order, error, actor, request_id)
                    raise
            except (WrongState, VersionAlreadyStored) as error:
                # Revoked or archived while the issuer worked; or not a new certificate at all.
                self._failed(order, error, actor, request_id)
                raise
        raise AssertionError  # the last attempt returns or raises

    def _finish(
        self, order: Order, issued: IssuedVersion, actor: Actor, request_id: str
    ) -> IssuedCertificate:
        """Store what was signed before anything was recorded."""

        def store(draft: DraftCertificate) -> IssuedCertificate:
            new = (order, draft, issued)
            return self._storing_new.run(new, actor=actor, request_id=request_id)

        return self._with_free_draft(order, store)

    def _write_down(self, order: Order, actor: Actor, request_id: str) -> None:
        """What was to be issued at once and was not, as if it had taken the long way."""
        if order.draft is None:
            return

        def record(draft: DraftCertificate) -> None:
            with self._units.begin(actor, request_id=request_id) as uow:
                self._certificates.add_draft(uow, draft)
                _store.record(uow, order.order_id, **order.entry)

        self._with_free_draft(order, record)
        order.draft = None

    def _with_free_draft(self, order: Order, run: Callable[[DraftCertificate], _Stored]) -> _Stored:
        """Run with the draft; if its name has gone to another, under one that nobody has."""
        assert order.draft is not None  # noqa: S101 - the callers have looked
        try:
            return run(order.draft)
        except CertificateNameTaken:
            if order.draft.is_named:
                raise
        name = self._free_name(order.draft.view.common_name)
        return run(order.draft.renamed(name))

    def _call(self, order: Order, actor: Actor, request_id: str) -> IssuedVersion:
        try:
            result = self._issuers.submit(order.view.issuer_id, order.request)
            if isinstance(result, Pending):
                self._pending(order, result, actor, request_id)
            return self._verify(order, result, actor, request_id)
        except IssuancePending:
            raise
        except PKIError as error:
            fault = f"it cannot be read: {error}"
            rejected = IssuedCertificateRejected(log={"order_id": order.order_id, "fault": fault})
            self._failed(order, rejected, actor, request_id)
            raise rejected from error
        except CertctlError as error:
            self._failed(order, error, actor, request_id)
            raise

    def _verify(self, order: Order, result: Issued, actor: Actor, request_id: str) -> IssuedVersion:
        leaf = parse_certificate(result.leaf)
        authority = None
        if self._issuers.is_local(order.view.issuer_id):
            authority = self._authorities.find_current(order.view.issuer_id)
            if authority is None or authority.template.key_id != key_id_of(leaf):
                authority = self._authorities.authority_of(order.view.issuer_id, leaf)
        try:
            return verified(order, result, leaf, authority, self._units.clock.now())
        except NotAsAskedFor as error:
            self._reject(order, error, actor, request_id)

    def _reject(
        self, order: Order, result: NotAsAskedFor, actor: Actor, request_id: str
    ) -> NoReturn:
        self._write_down(order, actor, request_id)
        with self._units.begin(actor, request_id=request_id) as uow:
            _store.move(
                uow,
                order.order_id,
                OrderState.FAILED,
                last_error="; ".join(result.faults),
                error_class="validation",
                rejected_pem=to_pem(result.leaf),
            )
            uow.emit(
                CertificateRejected(
                    resource_id=order.order_id,
                    issuer_id=order.view.issuer_id,
                    certificate_id=order.view.id,
                    reasons=tuple(result.faults),
                )
            )
        raise IssuedCertificateRejected(log={"order_id": order.order_id, "faults": result.faults})

    def _store(self, uow: Uow, done: tuple[Order, IssuedVersion]) -> IssuedCertificate:
        order, issued = done
        self._enter(uow, order, issued)
        view, version = self._certificates.add_version(uow, order.view.id, issued, view=order.view)
        _store.settle(uow, order.order_id, version_id=version.id, vendor_ref=issued.vendor_ref)
        return self._stored(uow, order, view, version)

    def _store_new(
        self, uow: Uow, done: tuple[Order, DraftCertificate, IssuedVersion]
    ) -> IssuedCertificate:
        order, draft, issued = done
        self._enter(uow, order, issued)  # first: of all that can be taken, a serial counts most
        view, version = self._certificates.add_issued(uow, draft, issued)
        _store.record_issued(
            uow,
            order.order_id,
            version_id=version.id,
            vendor_ref=issued.vendor_ref,
            **order.entry,
        )
        return self._stored(uow, order, view, version)

    def _enter(self, uow: Uow, order: Order, issued: IssuedVersion) -> None:
        """The ledger row of a certificate of our own (02 CERT-3)."""
        if self._issuers.is_local(order.view.issuer_id) and issued.ca_key_id is not None:
            self._authorities.record_issued(
                uow,
                issuer_id=order.view.issuer_id,
                ca_key_id=issued.ca_key_id,
                serial=issued.serial_number,
                certificate_id=order.view.id,
                profile_id=order.profile.id,
                subject=order.request.subject or f"CN={order.view.common_name}",
                not_before=issued.not_before,
                not_after=issued.not_after,
                fingerprint_sha256=issued.fingerprint_sha256,
                short_lived=order.profile.is_short_lived,
                later=True,
            )

    def _stored(
        self, uow: Uow, order: Order, view: CertificateView, version: VersionView
    ) -> IssuedCertificate:
        for action in self._on_issued:
            action(uow, version, order.job)
        return handed_out(view, version)

    def _pending(self, order: Order, result: Pending, actor: Actor, request_id: str) -> NoReturn:
        self._write_down(order, actor, request_id)
        with self._units.begin(actor, request_id=request_id) as uow:
            _store.move(
                uow,
                order.order_id,
                OrderState.PENDING,
                vendor_ref={"ref": str(result.vendor_ref)},
                message=result.message or None,
            )
        raise IssuancePending(order_id=order.order_id)

    def _failed(self, order: Order, error: CertctlError, actor: Actor, request_id: str) -> None:
        """Settle a failed order; the job engine, if there is a job, decides about a retry."""
        error_class = str(getattr(error, "error_class", "other"))
        self._write_down(order, actor, request_id)
        with self._units.begin(actor, request_id=request_id) as uow:
            _store.move(
                uow,
                order.order_id,
                OrderState.FAILED,
                last_error=error.detail[:2000],
                error_class=error_class,
            )
            if order.job is None:
                self._certificates.end_failed(
                    uow, order.view.id, code=error.code, message=error.detail
                )
        count_failed(self._issuers.kind_of(order.view.issuer_id), error_class)
        _log.warning(
            "issuance.failed",
            order_id=order.order_id,
            certificate_id=order.view.id,
            code=error.code,
            error_class=error_class,
        )
