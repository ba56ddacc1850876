"""The state machine of managed certificates: every step is one conditional UPDATE."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.certificates import _store
from certctl_core.lifecycle.certificates._tables import certificate_versions as versions
from certctl_core.lifecycle.certificates._tables import managed_certificates as certificates
from certctl_core.lifecycle.certificates.errors import (
    CertificateNotFound,
    NoVersionYet,
    WrongState,
)
from certctl_core.lifecycle.certificates.events import CertificateExpired, RenewalFailed
from certctl_core.lifecycle.certificates.rules import status_by_date
from certctl_core.lifecycle.certificates.schemas import CertificateView, VersionView
from certctl_core.lifecycle.certificates.types import RENEWABLE, KnownVersion, Status, sources_of
from certctl_core.lifecycle.policies import (
    DEFAULT_POLICY_ID,
    RenewalPolicyService,
    RenewalPolicyView,
    renew_at,
)
from certctl_core.pki.reasons import CRLReason

_SETTLED = (Status.ACTIVE, Status.EXPIRING, Status.EXPIRED)
_SWEEP_PAGE = 1000


class CertificateStates:
    """Reading one certificate, and moving it through the table of ``types``."""

    def __init__(self, *, policies: RenewalPolicyService) -> None:
        self._policies = policies

    def get(self, uow: Uow, certificate_id: str) -> CertificateView:
        """One certificate.

        Raises:
            CertificateNotFound: No such id.
        """
        row = uow.first(_store.one(certificate_id))
        if row is None:
            raise CertificateNotFound(certificate_id=certificate_id)
        return _store.certificate_view(row)

    def current_version(
        self, uow: Uow, certificate_id: str, *, agent_id: str | None = None
    ) -> VersionView:
        """The newest version (of that agent's key, when ``agent_id`` is given).

        Raises:
            NoVersionYet: It was never issued.
        """
        statement = _store.version_list(certificate_id)
        if agent_id is not None:
            statement = statement.where(versions.c.agent_id == agent_id)
        row = uow.first(
            statement.order_by(
                versions.c.is_current.desc(), versions.c.created_at.desc(), versions.c.id.desc()
            ).limit(1)
        )
        if row is None:
            raise NoVersionYet(certificate_id=certificate_id)
        return _store.version_view(row)

    def swap_status(
        self,
        uow: Uow,
        certificate_id: str,
        to: Status,
        *,
        sources: Sequence[Status] | None = None,
        known: Status | None = None,
        **values: object,
    ) -> CertificateView:
        """Move a certificate to ``to`` if the state table allows it: one conditional UPDATE.

        Args:
            uow: The open unit of work.
            certificate_id: Which.
            to: The state to reach.
            sources: Narrows the states from which it may be reached.
            known: The state the caller has just read: saves reading it again.
            values: Further columns to set in the same statement.

        Raises:
            CertificateNotFound: No such id.
            WrongState: The step is not in the table, or another writer was first.
        """
        allowed = sources_of(to) if sources is None else tuple(sources)
        c = certificates.c
        status = known if known is not None else self.lock(uow, certificate_id)
        row = uow.first(
            sa.update(certificates)
            .where(c.id == certificate_id, c.status.in_(allowed), c.status == status)
            .values(status=to, version=c.version + 1, updated_at=uow.now, **values)
            .returning(*_store.LISTED)
        )
        if row is None:
            actual = self.lock(uow, certificate_id)
            raise WrongState(certificate_status=actual.value, wanted=to.value)
        self._moved(uow, status, to)
        return _store.certificate_view(row)

    def swap_known(
        self,
        uow: Uow,
        view: CertificateView,
        to: Status,
        *,
        sources: Sequence[Status],
        search_text: str,
        **values: object,
    ) -> CertificateView:
        """Move a certificate that the caller has just read, with the next flush.

        Args:
            uow: The open unit of work.
            view: The certificate as it was read.
            to: The state to reach.
            sources: The states from which it may be reached.
            search_text: What ``q`` finds from now on.
            values: Members of the view to set in the same statement.

        Raises:
            WrongState: The step is not allowed; or, with the flush, another writer was first.
        """
        if view.status not in sources:
            raise WrongState(certificate_status=view.status.value, wanted=to.value)

        def lost() -> Exception:
            actual = self.lock(uow, view.id)
            return WrongState(certificate_status=actual.value, wanted=to.value)

        changed = {**values, "status": to, "updated_at": uow.now}
        uow.swap(
            certificates,
            expected={"id": view.id, "status": view.status},
            values={**changed, "search_text": search_text},
            counted="version",
            lost=lost,
        )
        self._moved(uow, view.status, to)
        return view.model_copy(update={**changed, "version": view.version + 1})

    def lock(self, uow: Uow, certificate_id: str) -> Status:
        """The state, which no other writer changes until this transaction ends.

        Raises:
            CertificateNotFound: No such id.
        """
        c = certificates.c
        statement = sa.select(c.status).where(c.id == certificate_id)
        status = uow.scalar(statement.with_for_update() if uow.is_postgres else statement)
        if status is None:
            raise CertificateNotFound(certificate_id=certificate_id)
        return Status(status)

    def _moved(self, uow: Uow, old: Status, new: Status) -> None:
        if old != new:
            uow.count(f"certificates.status.{old}", -1)
            uow.count(f"certificates.status.{new}", 1)
        uow.touch("certificates")

    def begin_renewal(self, uow: Uow, certificate_id: str) -> CertificateView:
        """Move to RenewalInProgress when a job or order starts.

        Raises:
            CertificateNotFound: No such id.
            WrongState: Revoked, archived, or in progress already.
        """
        return self.swap_status(
            uow, certificate_id, Status.RENEWING, sources=tuple(RENEWABLE), next_renewal_at=None
        )

    def end_failed(
        self,
        uow: Uow,
        certificate_id: str,
        *,
        code: str,
        message: str,
        job_id: str | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        """An issuance or renewal ended without a certificate: back to what the dates say.

        Emits ``renewal.failed``. A certificate with a version returns to Active, Expiring or
        Expired, one without becomes Failed (spec 01 §2.1). ``retry_at`` is the next automatic
        attempt; without it a certificate that may renew is planned one policy interval ahead.
        """
        view = self.get(uow, certificate_id)
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        target = Status.FAILED
        if view.current_version_id is not None:
            current = self.current_version(uow, certificate_id)
            target = status_by_date(
                uow.now,
                current.not_before,
                current.not_after,
                timedelta(days=policy.renewal_window_days),
            )
        again = retry_at or uow.now + timedelta(seconds=policy.retry_interval_seconds)
        planned = again if view.managed_renewal and policy.auto_renew else None
        if view.status in {Status.RENEWING, Status.PENDING}:
            self.swap_status(
                uow,
                certificate_id,
                target,
                sources=(Status.RENEWING, Status.PENDING),
                last_error=message[:2000],
                next_renewal_at=planned if view.current_version_id else None,
            )
        uow.emit(
            RenewalFailed(
                resource_id=certificate_id,
                error_code=code,
                message=message[:500],
                job_id=job_id,
            )
        )

    def release_hold(
        self, uow: Uow, certificate_id: str, version_ids: Sequence[str]
    ) -> CertificateView:
        """Undo a certificateHold of these versions: back to what the dates say.

        Raises:
            CertificateNotFound, WrongState: As of ``swap_status``.
        """
        uow.execute(
            sa.update(versions).where(versions.c.id.in_(list(version_ids))).values(revoked_at=None)
        )
        uow.touch("certificates")
        view = self.get(uow, certificate_id)
        if view.status is not Status.REVOKED:
            return view
        current = self.current_version(uow, certificate_id)
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        target = status_by_date(
            uow.now,
            current.not_before,
            current.not_after,
            timedelta(days=policy.renewal_window_days),
        )
        self.swap_status(
            uow,
            certificate_id,
            target,
            sources=(Status.REVOKED,),
            revoked_at=None,
            revocation_reason=None,
        )
        self.replan(uow, certificate_id)
        return self.get(uow, certificate_id)

    def end_hold(
        self, uow: Uow, certificate_id: str, *, reason: str, still_held: Collection[str]
    ) -> None:
        """Show the final reason of a certificate that was on hold.

        Nothing changes while one of its current versions is among ``still_held``: that one can
        be released.
        """
        c, v = certificates.c, versions.c
        current = sa.exists().where(
            v.certificate_id == certificate_id,
            v.is_current.is_(True),
            v.id.in_(sorted(still_held)),
        )
        uow.execute(
            sa.update(certificates)
            .where(
                c.id == certificate_id,
                c.revocation_reason == CRLReason.CERTIFICATE_HOLD,
                ~current,
            )
            .values(revocation_reason=reason, version=c.version + 1, updated_at=uow.now)
        )

    def replan(self, uow: Uow, certificate_id: str) -> None:
        """Recompute when the certificate renews (its policy or a hold changed)."""
        view = self.get(uow, certificate_id)
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        self._replan(uow, certificates.c.id == certificate_id, policy)

    def replan_policy(self, uow: Uow, renewal_policy_id: str, *, is_default: bool) -> None:
        """Recompute every certificate under a policy that this transaction has changed."""
        c = certificates.c
        under = c.renewal_policy_id == renewal_policy_id
        if is_default:
            under = sa.or_(under, c.renewal_policy_id.is_(None))
        self._replan(uow, under, self._policies.get(uow, renewal_policy_id))

    def _replan(self, uow: Uow, which: sa.ColumnElement[bool], policy: RenewalPolicyView) -> None:
        c, v = certificates.c, versions.c
        rows = uow.execute(
            sa.select(c.id, c.managed_renewal, v.not_before, v.not_after)
            .join(versions, v.id == c.current_version_id)
            .where(which, c.status.in_(_SETTLED))
        ).all()
        planned = [
            {
                "row": row.id,
                "planned": renew_at(row.not_before, row.not_after, policy, seed=row.id)
                if row.managed_renewal
                else None,
            }
            for row in rows
        ]
        if not planned:
            return
        statement = sa.update(certificates).where(c.id == sa.bindparam("row"))
        uow.execute(statement.values(next_renewal_at=sa.bindparam("planned")), planned)
        uow.touch("certificates")

    def postpone(self, uow: Uow, certificate_id: str) -> None:
        """Plan the next automatic attempt one retry interval from now, if one is planned."""
        view = self.get(uow, certificate_id)
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        c = certificates.c
        uow.execute(
            sa.update(certificates)
            .where(c.id == certificate_id, c.next_renewal_at.is_not(None))
            .values(next_renewal_at=uow.now + timedelta(seconds=policy.retry_interval_seconds))
        )
        uow.touch("certificates")

    def versions_by_serial(
        self, uow: Uow, issuer_id: str, ca_key_id: str, serials: Sequence[str]
    ) -> dict[str, KnownVersion]:
        """Canonical serial → what is stored of it, for the serials of one CA key that are."""
        v = versions.c
        rows = uow.execute(
            sa.select(v.serial_number, v.id, v.certificate_id, v.not_after).where(
                v.issuer_id == issuer_id,
                v.ca_key_id == ca_key_id,
                v.serial_number.in_(list(serials)),
            )
        )
        return {
            row.serial_number: KnownVersion(
                id=row.id, certificate_id=row.certificate_id, not_after=row.not_after
            )
            for row in rows
        }

    def make_due(self, uow: Uow, issuer_id: str, ca_key_id: str) -> tuple[int, int]:
        """Plan the renewal of every certificate that a CA key vouches for to now (02 ROT-6).

        Returns:
            How many live certificates have a current version of the key, and how many of them
            are renewed from here.
        """
        c, v = certificates.c, versions.c
        vouched = sa.exists().where(
            v.certificate_id == c.id,
            v.is_current.is_(True),
            v.issuer_id == issuer_id,
            v.ca_key_id == ca_key_id,
            v.not_after > uow.now,
            v.revoked_at.is_(None),
        )
        live = c.status.in_(
            [Status.ACTIVE, Status.EXPIRING, Status.EXPIRED, Status.FAILED, Status.RENEWING]
        )
        affected = uow.scalar(sa.select(sa.func.count()).where(vouched, live))
        planned = uow.execute(
            sa.update(certificates)
            .where(vouched, live, c.managed_renewal.is_(True))
            .values(next_renewal_at=uow.now)
        ).rowcount
        uow.touch("certificates")
        return int(affected or 0), planned

    def pressing(self, uow: Uow, *, within: timedelta) -> tuple[bool, bool]:
        """Whether certificates have ended lately without being marked, and whether some are due.

        Only due ones that end ``within`` that time count, and only ends of that time: older ones
        are the renewal loop's.
        """
        c = certificates.c
        ended = sa.exists().where(
            c.expires_at <= uow.now,
            c.expires_at > uow.now - within,
            c.status.in_([Status.ACTIVE, Status.EXPIRING]),
        )
        due = sa.exists().where(*_due(uow, within))
        return bool(uow.scalar(sa.select(ended))), bool(uow.scalar(sa.select(due)))

    def due_for_renewal(
        self, uow: Uow, *, limit: int, within: timedelta | None = None
    ) -> list[CertificateView]:
        """Certificates whose planned renewal time has come, the longest due first.

        Args:
            uow: The open unit of work.
            limit: At most so many.
            within: Only those that end within this time; all when None.
        """
        c = certificates.c
        rows = uow.execute(
            sa.select(*_store.LISTED)
            .where(*_due(uow, within))
            .order_by(c.next_renewal_at, c.id)
            .limit(limit)
        )
        return [_store.certificate_view(row) for row in rows]

    def sweep_dates(self, uow: Uow, *, limit: int = 1000) -> int:
        """Active → Expiring and → Expired by date; emits ``certificate.expired``.

        Args:
            uow: The open unit of work.
            limit: How many certificates may move; what is left is for the next sweep.

        Returns:
            How many moved. One that another writer has just moved is passed over.
        """
        c = certificates.c
        moved = 0
        expired = uow.execute(
            sa.select(c.id, c.common_name, c.expires_at)
            .where(c.expires_at <= uow.now, c.status.in_([Status.ACTIVE, Status.EXPIRING]))
            .order_by(c.expires_at)
            .limit(limit)
        ).all()
        for row in expired:
            if not self._sweep(uow, row.id, Status.EXPIRED):
                continue
            uow.emit(
                CertificateExpired(
                    resource_id=row.id, common_name=row.common_name, expires_at=row.expires_at
                )
            )
            moved += 1
        for certificate_id in self._expiring(uow, limit - moved):
            moved += self._sweep(uow, certificate_id, Status.EXPIRING)
        return moved

    def _expiring(self, uow: Uow, limit: int) -> list[str]:
        """Active certificates inside the window of their policy, the soonest end first.

        The policies' windows limit what is read; the share of the lifetime is looked at here, page
        by page, so that many short-lived ones do not hide the others.
        """
        c, found = certificates.c, list[str]()
        windows = {
            view.id: timedelta(days=view.renewal_window_days) for view in self._policies.all(uow)
        }
        inside = [
            sa.and_(c.renewal_policy_id == policy_id, c.expires_at <= uow.now + window)
            for policy_id, window in windows.items()
        ]
        default = windows[DEFAULT_POLICY_ID]
        inside.append(sa.and_(c.renewal_policy_id.is_(None), c.expires_at <= uow.now + default))
        page = (
            sa.select(c.id, c.renewal_policy_id, c.expires_at, versions.c.not_before)
            .join(versions, versions.c.id == c.current_version_id)
            .where(c.status == Status.ACTIVE, c.expires_at > uow.now, sa.or_(*inside))
            .order_by(c.expires_at, c.id)
            .limit(_SWEEP_PAGE)
        )
        rows = uow.execute(page).all()
        while rows and len(found) < limit:
            for row in rows:
                window = windows[row.renewal_policy_id or DEFAULT_POLICY_ID]
                state = status_by_date(uow.now, row.not_before, row.expires_at, window)
                if state is Status.EXPIRING:
                    found.append(row.id)
            last = sa.tuple_(sa.literal(rows[-1].expires_at, c.expires_at.type), rows[-1].id)
            rows = uow.execute(page.where(sa.tuple_(c.expires_at, c.id) > last)).all()
        return found[:limit]

    def _sweep(self, uow: Uow, certificate_id: str, to: Status) -> bool:
        try:
            self.swap_status(uow, certificate_id, to)
        except WrongState:
            return False
        return True


def _due(uow: Uow, within: timedelta | None) -> list[sa.ColumnElement[bool]]:
    """The planned renewal time has come (and the end comes ``within`` that time)."""
    c = certificates.c
    found = [
        c.next_renewal_at.is_not(None),
        c.next_renewal_at <= uow.now,
        c.status.in_([Status.ACTIVE, Status.EXPIRING, Status.EXPIRED, Status.FAILED]),
    ]
    return found if within is None else [*found, c.expires_at <= uow.now + within]
