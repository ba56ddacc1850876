"""Revoking everything that matches: small transactions, one after the other, each one final.

A run that ends early, by a crash or a database that goes away, has revoked what it has revoked;
the same request again skips that and goes on. More than a few hundred certificates are the work of
a job, which is taken up by another worker when its own dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError, Conflict
from certctl_core.kernel.events import JSON
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.jobs import JobContext, JobKind, JobService, NewJob
from certctl_core.kernel.operations import Accepted, Resource
from certctl_core.lifecycle.bulk_revocation.errors import CountMismatch
from certctl_core.lifecycle.bulk_revocation.events import (
    BulkRevocationFinished,
    BulkRevocationStarted,
)
from certctl_core.lifecycle.bulk_revocation.schemas import (
    BulkCriteria,
    BulkFailure,
    BulkJob,
    BulkResult,
    BulkRevoke,
)
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    Matching,
    Status,
    count_by_status,
    count_held,
    next_ids,
)
from certctl_core.lifecycle.revocation import RevocationService
from certctl_core.pki.reasons import CRLReason

_log = structlog.get_logger("certctl.bulk_revocation")

BULK_JOB = "BulkRevocation"
AT_ONCE = 2000
"""So many are revoked before the request is answered; more are the work of a job."""
_BATCH = 100
_MOST_ERRORS = 1000
_JOB_ATTEMPTS = 20
_JOB_TIMEOUT = timedelta(hours=6)


@dataclass(slots=True)
class _Tally:
    revoked: int = 0
    failed: int = 0
    errors: list[BulkFailure] = field(default_factory=list)

    def refuse(self, certificate_id: str, error: CertctlError) -> None:
        self.failed += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(
                BulkFailure(certificate_id=certificate_id, code=error.code, error=error.detail)
            )


class BulkRevocation:
    """The use case behind ``POST /certificates/bulk-revoke``."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        revocation: RevocationService,
        jobs: JobService,
        at_once: int = AT_ONCE,
    ) -> None:
        self._units = units
        self._revocation = revocation
        self._jobs = jobs
        self._at_once = at_once

    def run(
        self,
        body: BulkRevoke,
        *,
        scopes: Sequence[Resource] | None,
        actor: Actor,
        request_id: str,
    ) -> BulkResult | Accepted:
        """Revoke, or count only.

        Returns:
            The result; 202 with the id of the job where it takes longer.

        Raises:
            BadRevocationReason: Not one of the eight.
            CountMismatch: ``expected_count`` is not what matches; nothing was done.
        """
        reason = self._revocation.reason(body.reason)
        wanted = _matching(body, scopes)
        with self._units.begin(actor, request_id=request_id) as uow:
            by_status = count_by_status(uow, wanted)
            unknown = _unknown(uow, wanted)
            matched = sum(by_status.values())
            skipped = sum(by_status.get(status, 0) for status in _settled(wanted))
            if skipped and reason is not CRLReason.CERTIFICATE_HOLD:
                skipped -= count_held(uow, wanted)  # what is on hold is revoked for good
            if body.expected_count not in {None, matched}:
                raise CountMismatch(total_matched=matched, expected_count=body.expected_count)
            result = BulkResult(
                id=uow.new_id(Prefix.BACKGROUND_OPERATION),
                reason=reason.value,
                dry_run=body.dry_run,
                total_matched=matched,
                to_revoke=matched - skipped,
                total_revoked=0,
                total_skipped=skipped,
                total_failed=len(unknown),
                errors=_missing(unknown),
                job_id=None,
            )
            if body.dry_run:
                return result
            if result.to_revoke > self._at_once:
                job_id = self._enqueue(uow, body, scopes, result, actor)
                result = result.model_copy(update={"job_id": job_id})
            uow.emit(_started(body, result))
        if result.job_id is not None:
            return Accepted(status=202, body=result)
        tally = _Tally(failed=len(unknown), errors=list(result.errors))
        for _ in self._revoke_all(
            wanted, reason, body.invalidity_date, tally, actor=actor, request_id=request_id
        ):
            pass
        self._finish(result.id, tally, actor=actor, request_id=request_id)
        return result.model_copy(
            update={
                "total_revoked": tally.revoked,
                "total_failed": tally.failed,
                "errors": tally.errors,
            }
        )

    def kind(self) -> JobKind:
        """The job that revokes what is too much for one request."""

        def handle(context: JobContext[Any]) -> dict[str, JSON] | None:
            payload: BulkJob = context.payload
            actor = Actor(type=ActorType(payload.actor_type), id=payload.actor_id)
            request_id = context.job.request_id
            wanted = _matching(payload.criteria, _scopes(payload.scopes))
            with self._units.read(actor, request_id=request_id) as uow:
                unknown = _unknown(uow, wanted)
            # What could not be revoked is tried again; what was revoked stays counted.
            before = context.reported().get("total_revoked", 0)
            assert isinstance(before, int)  # noqa: S101 - written by ``_reached``
            tally = _Tally(revoked=before, failed=len(unknown), errors=_missing(unknown))
            for _ in self._revoke_all(
                wanted,
                CRLReason(payload.reason),
                payload.invalidity_date,
                tally,
                actor=actor,
                request_id=request_id,
                report=lambda uow: context.report(uow, _reached(payload.bulk_id, tally)),
            ):
                if context.is_lost:
                    return None
            self._finish(payload.bulk_id, tally, actor=actor, request_id=request_id)
            return _reached(payload.bulk_id, tally)

        return JobKind(type=BULK_JOB, handler=handle, payload=BulkJob, timeout=_JOB_TIMEOUT)

    def _revoke_all(
        self,
        wanted: Matching,
        reason: CRLReason,
        invalidity_date: datetime | None,
        tally: _Tally,
        *,
        actor: Actor,
        request_id: str,
        report: Callable[[Uow], None] | None = None,
    ) -> Iterator[None]:
        """Revoke batch after batch; yields after each commit, of which ``report`` is a part."""
        after = ""
        while True:
            with self._units.begin(actor, request_id=request_id) as uow:
                batch = next_ids(
                    uow,
                    wanted,
                    after=after,
                    limit=_BATCH,
                    leave_out=_settled(wanted),
                    takes_held=reason is not CRLReason.CERTIFICATE_HOLD,
                )
                refused: list[tuple[str, CertctlError]] = []
                for certificate_id in batch:
                    try:
                        self._revocation.revoke(
                            uow,
                            certificate_id=certificate_id,
                            reason=reason.value,
                            spki_sha256=wanted.spki_sha256,
                            invalidity_date=invalidity_date,
                        )
                    except (Conflict, CertificateNotFound) as error:
                        # Raised before anything of this certificate was written.
                        refused.append((certificate_id, error))
                for refused_id, cause in refused:
                    tally.refuse(refused_id, cause)
                tally.revoked += len(batch) - len(refused)
                if report is not None:
                    report(uow)
            yield
            if len(batch) < _BATCH:
                return
            after = batch[-1]

    def _enqueue(
        self,
        uow: Uow,
        body: BulkRevoke,
        scopes: Sequence[Resource] | None,
        result: BulkResult,
        actor: Actor,
    ) -> str:
        payload = BulkJob(
            bulk_id=result.id,
            criteria=BulkCriteria(**body.model_dump(include=set(BulkCriteria.model_fields))),
            scopes=None
            if scopes is None
            else [
                {"profile_id": scope.profile_id, "issuer_id": scope.issuer_id} for scope in scopes
            ],
            reason=result.reason,
            invalidity_date=body.invalidity_date,
            actor_type=actor.type.value,
            actor_id=actor.id,
        )
        job, _ = self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type=BULK_JOB,
                subject_type="bulk_revocation",
                subject_id=result.id,
                payload=payload.model_dump(mode="json"),
                max_attempts=_JOB_ATTEMPTS,
            ),
        )
        return job.id

    def _finish(self, bulk_id: str, tally: _Tally, *, actor: Actor, request_id: str) -> None:
        with self._units.begin(actor, request_id=request_id) as uow:
            uow.emit(
                BulkRevocationFinished(
                    resource_id=bulk_id, total_revoked=tally.revoked, total_failed=tally.failed
                )
            )
        _log.info("bulk_revocation.finished", bulk_id=bulk_id, revoked=tally.revoked)


def _reached(bulk_id: str, tally: _Tally) -> dict[str, JSON]:
    return {
        "bulk_id": bulk_id,
        "total_revoked": tally.revoked,
        "total_failed": tally.failed,
        "errors": [item.model_dump() for item in tally.errors],
    }


def _started(body: BulkRevoke, result: BulkResult) -> BulkRevocationStarted:
    named = body.model_dump(mode="json", include=set(BulkCriteria.model_fields), exclude_none=True)
    if len(named.get("certificate_ids", ())) > _BATCH:
        named["certificate_ids"] = f"{len(named['certificate_ids'])} ids"
    return BulkRevocationStarted(
        resource_id=result.id,
        criteria=named,
        reason=result.reason,
        total_matched=result.total_matched,
        to_revoke=result.to_revoke,
        job_id=result.job_id,
    )


def _matching(criteria: BulkCriteria, scopes: Sequence[Resource] | None) -> Matching:
    ids = criteria.certificate_ids
    return Matching(
        certificate_ids=None if ids is None else tuple(dict.fromkeys(ids)),
        profile_id=criteria.profile_id,
        issuer_id=criteria.issuer_id,
        agent_id=criteria.agent_id,
        ca_key_id=criteria.ca_key_id,
        spki_sha256=criteria.spki_sha256.lower() if criteria.spki_sha256 else None,
        source=criteria.source,
        scopes=None if scopes is None else tuple(scopes),
    )


def _settled(wanted: Matching) -> tuple[Status, ...]:
    """In which states there is nothing left to do; by key, what matches is valid in any state."""
    return () if wanted.spki_sha256 else (Status.REVOKED, Status.ARCHIVED)


def _scopes(stored: list[dict[str, str | None]] | None) -> tuple[Resource, ...] | None:
    return None if stored is None else tuple(Resource(**scope) for scope in stored)


def _unknown(uow: Uow, wanted: Matching) -> list[str]:
    """The ids that were named and that the actor cannot know of."""
    ids = wanted.certificate_ids
    if ids is None:
        return []
    within = Matching(certificate_ids=ids, scopes=wanted.scopes)
    known = set(next_ids(uow, within, after="", limit=len(ids)))
    return [certificate_id for certificate_id in ids if certificate_id not in known]


def _missing(ids: Iterable[str]) -> list[BulkFailure]:
    failures = []
    for certificate_id in ids:
        error = CertificateNotFound(certificate_id=certificate_id)
        failures.append(
            BulkFailure(certificate_id=certificate_id, code=error.code, error=error.detail)
        )
    return failures[:_MOST_ERRORS]
