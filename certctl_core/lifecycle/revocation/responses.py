"""``ocsp_response_cache``: signed answers that every process may serve while they are true.

The second level behind each process's memory (02 OCC-1 … OCC-4). A row is believed only after the
query that reads it has shown it to agree with the revocations and the responder of this moment.
Answers are stored behind the requests, many in one transaction: a relying party waits for no write.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.lifecycle.revocation._tables import (
    certificate_revocations,
    ocsp_responder_certs,
)
from certctl_core.lifecycle.revocation._tables import ocsp_response_cache as t
from certctl_core.pki.errors import PKIError
from certctl_core.pki.ocsp import CertID, CertStatus, OCSPAnswer, verify_response
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.ocsp")
_GATHER_SECONDS = 0.05
_BATCH = 500
_MAX_WAITING = 20_000
_MAX_VERIFIED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnswer:
    """One signed answer about one certificate, without a nonce.

    Attributes:
        cert_id: As the response repeats it.
        der: The OCSPResponse.
        responder_serial: Of the certificate that signed.
        reason / revoked_at: Of a revoked certificate.
    """

    key: AuthorityKey
    cert_id: CertID
    der: bytes
    status: CertStatus
    responder_serial: str
    this_update: datetime
    next_update: datetime
    reason: CRLReason | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFacts:
    """What an answer that is signed now would say, and who would sign it."""

    cert_id: CertID
    status: tuple[CertStatus, datetime | None, CRLReason | None]
    responder_serial: str


_Place = tuple[str, str, str]


class ResponseCache:
    """Reads, fills, empties the table.

    Args:
        units: Opens the transactions.
        margin: How long an answer must still last to be given out: HTTP caches keep it as long.
    """

    def __init__(self, *, units: UnitOfWorkFactory, margin: timedelta = timedelta(0)) -> None:
        self._units = units
        self._margin = margin
        self._verified: dict[bytes, None] = {}
        self._waiting: dict[_Place, SignedAnswer] = {}
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._arrived = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- reading ------------------------------------------------------------------------------

    def find(self, key: AuthorityKey, wanted: CertID, *, is_direct: bool) -> SignedAnswer | None:
        """The stored answer to exactly this CertID, if it is true now (02 OCC-2).

        One query; what it cannot read is a miss, because the truth does not lie in this table.

        Args:
            key: The CA key that is asked about.
            wanted: From the request.
            is_direct: The CA key itself signs answers.
        """
        try:
            with self._units.read() as uow:
                row = uow.conn.execute(
                    _FIND,
                    {
                        "issuer": key.issuer_id,
                        "serial": wanted.serial,
                        "hash": str(wanted.hash_algorithm),
                    },
                ).first()
            if row is None:
                return None
            now = self._units.clock.now()
            return self._believed(row, key, wanted, now, is_direct=is_direct)
        except (CertctlError, DBAPIError, ValueError, TypeError) as error:
            _log.warning("ocsp.cache_not_read", issuer_id=key.issuer_id, error=type(error).__name__)
            return None

    def _believed(
        self, row: Any, key: AuthorityKey, wanted: CertID, now: datetime, *, is_direct: bool
    ) -> SignedAnswer | None:
        signer = canonical(key.certificate.serial_number) if is_direct else row.responder_now
        status = CertStatus.GOOD if row.revoked_now is None else CertStatus.REVOKED
        if (
            row.ca_key_id != key.ca_key_id
            or row.responder_serial != signer
            or row.cert_status != status
            or row.next_update <= now + self._margin
            or row.this_update > now
            or row.revoked_now != row.revoked_at
        ):
            return None
        reason = None if row.reason_now is None else CRLReason(row.reason_now)
        if (None if reason is None else reason.code) != row.revocation_reason:
            return None
        found = SignedAnswer(
            key=key,
            cert_id=wanted,
            der=bytes(row.response_der),
            status=status,
            responder_serial=row.responder_serial,
            this_update=row.this_update,
            next_update=row.next_update,
            reason=reason,
            revoked_at=row.revoked_now,
        )
        return found if self._holds(found, now) else None

    def _holds(self, answer: SignedAnswer, now: datetime) -> bool:
        """Whether the bytes say what their row says, and the CA's responder has signed them."""
        if answer.cert_id.der not in answer.der:
            return False
        digest = _digest(answer)
        if digest in self._verified:
            return True
        try:
            info = verify_response(answer.der, issuer_cert=answer.key.certificate, at=now)
        except PKIError:
            return False
        if info.nonce is not None or [_words(said) for said in info.answers] != [_facts(answer)]:
            return False
        self._remember(digest)
        return True

    def _remember(self, digest: bytes) -> None:
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified = {}
        self._verified[digest] = None

    # -- filling ------------------------------------------------------------------------------

    def put(self, answer: SignedAnswer) -> None:
        """Store an answer soon; what cannot be stored is logged and forgotten (02 OCC-3)."""
        with self._guard:
            if len(self._waiting) >= _MAX_WAITING:
                return
            self._waiting[_place(answer.key.issuer_id, answer.cert_id)] = answer
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="ocsp-cache", daemon=True)
                self._thread.start()
        self._remember(_digest(answer))
        self._arrived.set()

    def waiting(self, key: AuthorityKey, wanted: CertID) -> SignedAnswer | None:
        """The answer that is being stored, if there is one.

        Look here before ``find``: it leaves this place only once its row can be read.
        """
        return self._waiting.get(_place(key.issuer_id, wanted))

    def still_holds(self, answer: SignedAnswer, key: AuthorityKey, now: SignedFacts) -> bool:
        """Whether an answer says what one that is signed now would say."""
        return (
            answer.key.ca_key_id == key.ca_key_id
            and answer.cert_id.der == now.cert_id.der
            and (answer.status, answer.revoked_at, answer.reason) == now.status
            and answer.responder_serial == now.responder_serial
            and answer.next_update > self._units.clock.now() + self._margin
        )

    def put_now(self, uow: Uow, answers: Sequence[SignedAnswer]) -> None:
        """Store answers in this transaction."""
        uow.be_quiet()
        statement = uow.insert(t)
        uow.execute(
            statement.on_conflict_do_update(
                index_elements=[t.c.issuer_id, t.c.serial_hex, t.c.hash_alg],
                set_={name: statement.excluded[name] for name in _CHANGING},
            ),
            [_row(answer, uow.now) for answer in answers],
        )

    def flush(self) -> None:
        """Store what waits, now."""
        with self._flushing:
            while True:
                with self._guard:
                    batch = sorted(self._waiting.items(), key=itemgetter(0))[:_BATCH]
                if not batch:
                    return
                try:
                    with self._units.begin() as uow:
                        uow.commit_softly()
                        self.put_now(uow, [answer for _, answer in batch])
                except (CertctlError, DBAPIError) as error:
                    # The requests were answered; the next one about these certificates signs anew.
                    _log.warning("ocsp.cache_not_written", rows=len(batch), error=str(error))
                finally:
                    self._forget(batch)

    def _forget(self, batch: list[tuple[_Place, SignedAnswer]]) -> None:
        with self._guard:
            for place, answer in batch:
                if self._waiting.get(place) is answer:
                    del self._waiting[place]

    def close(self) -> None:
        """Store what waits and end the thread."""
        self._stop.set()
        self._arrived.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=5)
            self._thread = None

    def _run(self) -> None:
        while not self._stop.is_set():
            self._arrived.wait()
            self._stop.wait(_GATHER_SECONDS)
            self._arrived.clear()
            try:
                self.flush()
            except Exception:  # noqa: BLE001 - the next batch must find a thread
                _log.exception("ocsp.cache_not_written")

    # -- emptying -----------------------------------------------------------------------------

    def invalidate(self, uow: Uow, issuer_id: str, serials: Iterable[str]) -> int:
        """Delete the answers about certificates that are revoked or released in this transaction.

        A row that stays is not served either (02 OCC-2), so a failure is a warning (02 REV-2).
        """
        wanted = list(serials)
        try:
            with uow.attempt():
                return uow.execute(
                    sa.delete(t).where(t.c.issuer_id == issuer_id, t.c.serial_hex.in_(wanted))
                ).rowcount
        except (CertctlError, DBAPIError) as error:
            _log.warning(
                "InvalidateOnRevoke failed: the cached OCSP answer was not deleted; it is not served",
                issuer_id=issuer_id,
                serials=wanted,
                error=str(error),
            )
            return 0

    def purge(self, uow: Uow, *, issuer_id: str | None, serial: str | None) -> int:
        """Delete answers: all, of one issuer, about one serial; returns how many."""
        statement = sa.delete(t)
        if issuer_id is not None:
            statement = statement.where(t.c.issuer_id == issuer_id)
        if serial is not None:
            statement = statement.where(t.c.serial_hex == serial)
        return uow.execute(statement).rowcount

    def purge_expired(self) -> int:
        """Delete what has reached its nextUpdate (02 OCC-4); returns how many."""
        with self._units.begin() as uow:
            uow.be_quiet()
            return uow.execute(sa.delete(t).where(t.c.next_update <= uow.now)).rowcount

    # -- looking ------------------------------------------------------------------------------

    def counts(self, uow: Uow) -> dict[tuple[str, str], int]:
        """How many answers are stored, by issuer and status."""
        rows = uow.execute(
            sa.select(t.c.issuer_id, t.c.cert_status, sa.func.count().label("answers"))
            .where(t.c.next_update > uow.now)
            .group_by(t.c.issuer_id, t.c.cert_status)
        )
        return {(row.issuer_id, row.cert_status): row.answers for row in rows}

    def lasting(
        self, uow: Uow, key: AuthorityKey, hash_alg: str, serials: Sequence[str], until: datetime
    ) -> set[str]:
        """Which of these serials have an answer that is true and lasts beyond a moment."""
        r, p = certificate_revocations.c, ocsp_responder_certs.c
        rows = uow.execute(
            sa.select(t.c.serial_hex, t.c.cert_status, t.c.responder_serial)
            .add_columns(r.revoked_at.label("revoked_now"), p.serial_number.label("responder_now"))
            .select_from(_JOINED)
            .where(
                t.c.issuer_id == key.issuer_id,
                t.c.hash_alg == hash_alg,
                t.c.serial_hex.in_(serials),
                t.c.ca_key_id == key.ca_key_id,
                t.c.next_update > until,
            )
        )
        return {
            row.serial_hex
            for row in rows
            if (row.cert_status == CertStatus.GOOD) == (row.revoked_now is None)
            and row.responder_now in {row.responder_serial, None}
        }


_CHANGING = (
    "ca_key_id",
    "response_der",
    "cert_status",
    "revocation_reason",
    "revoked_at",
    "responder_serial",
    "this_update",
    "next_update",
    "generated_at",
)
_JOINED = t.outerjoin(
    certificate_revocations,
    sa.and_(
        certificate_revocations.c.issuer_id == t.c.issuer_id,
        certificate_revocations.c.ca_key_id == t.c.ca_key_id,
        certificate_revocations.c.serial_number == t.c.serial_hex,
    ),
).outerjoin(
    ocsp_responder_certs,
    sa.and_(
        ocsp_responder_certs.c.issuer_id == t.c.issuer_id,
        ocsp_responder_certs.c.ca_key_id == t.c.ca_key_id,
    ),
)
_FIND = (
    sa.select(
        t,
        certificate_revocations.c.revoked_at.label("revoked_now"),
        certificate_revocations.c.reason.label("reason_now"),
        ocsp_responder_certs.c.serial_number.label("responder_now"),
    )
    .select_from(_JOINED)
    .where(
        t.c.issuer_id == sa.bindparam("issuer"),
        t.c.serial_hex == sa.bindparam("serial"),
        t.c.hash_alg == sa.bindparam("hash"),
    )
)


def _place(issuer_id: str, wanted: CertID) -> _Place:
    return issuer_id, wanted.serial, str(wanted.hash_algorithm)


def _facts(answer: SignedAnswer) -> tuple[object, ...]:
    reason = answer.reason or CRLReason.UNSPECIFIED
    revoked_at = answer.revoked_at and answer.revoked_at.replace(microsecond=0)
    return (
        answer.cert_id.serial,
        answer.status,
        answer.this_update,
        answer.next_update,
        revoked_at,
        reason.value,
    )


def _words(said: OCSPAnswer) -> tuple[object, ...]:
    reason = said.reason or CRLReason.UNSPECIFIED.value
    return (
        said.serial,
        said.status,
        said.this_update,
        said.next_update,
        said.revoked_at,
        reason,
    )


def _digest(answer: SignedAnswer) -> bytes:
    about = repr((answer.key.ca_key_id, answer.cert_id.der, _facts(answer))).encode()
    return hashlib.sha256(about + answer.der).digest()


def _row(answer: SignedAnswer, now: datetime) -> dict[str, Any]:
    return {
        "issuer_id": answer.key.issuer_id,
        "serial_hex": answer.cert_id.serial,
        "hash_alg": str(answer.cert_id.hash_algorithm),
        "ca_key_id": answer.key.ca_key_id,
        "response_der": answer.der,
        "cert_status": answer.status.value,
        "revocation_reason": None if answer.reason is None else answer.reason.code,
        "revoked_at": answer.revoked_at,
        "responder_serial": answer.responder_serial,
        "this_update": answer.this_update,
        "next_update": answer.next_update,
        "generated_at": now,
    }
