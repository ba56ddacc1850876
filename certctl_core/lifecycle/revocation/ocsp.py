"""OCSP answers: the truth from memory where it is provably current, else from the database.

An answer is remembered by the raw request bytes, and behind that as a row for every process. Memory
is dropped whenever the topic ``pki`` moves, and not used at all while this process cannot confirm
its view (02 DATA-2); a row is checked by the query that reads it (OCC-2): a stale "good" cannot be
served.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Protocol

import sqlalchemy as sa
from cryptography import x509

from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.lifecycle.authorities import AuthorityKey, AuthorityService, CAKeyState
from certctl_core.lifecycle.revocation._tables import certificate_revocations
from certctl_core.lifecycle.revocation.errors import ResponderNotConfigured
from certctl_core.lifecycle.revocation.prepared import PreparedAnswer, PreparedAnswers, single
from certctl_core.lifecycle.revocation.responders import ResponderService
from certctl_core.lifecycle.revocation.responses import (
    ResponseCache,
    SignedAnswer,
    SignedFacts,
)
from certctl_core.lifecycle.revocation.types import RevokedSerial
from certctl_core.pki.errors import MalformedOCSPNonce, MalformedOCSPRequest
from certctl_core.pki.keys import SigningKey
from certctl_core.pki.ocsp import (
    CertID,
    CertIDHash,
    CertStatus,
    OCSPRequest,
    ResponseStatus,
    build_response,
    cert_id,
    error_response,
    issuer_hashes,
    parse_request,
)
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical
from certctl_core.values import dataclass

_MAX_ANSWERS = 50_000
_MAX_ISSUED = 200_000
_ATTEMPTS = 3
"""How often an answer is made again because memory was dropped meanwhile."""
_FLIGHTS = 64
"""Locks that answers share: one about the same certificate is made once at a time."""
SILENT = frozenset({CAKeyState.COMPROMISED, CAKeyState.RETIRED})
"""States of a CA key about whose certificates nothing is said any more (02 ROT-6)."""
_STATUS_LABELS = {status: f"status_{status.value}" for status in CertStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPAnswer:
    """A response ready to send.

    Attributes:
        der: The OCSPResponse.
        headers: Caching headers, ``no-store`` for errors and nonce answers.
        expires: Monotonic second until which memory may serve it; 0 for never.
        labels: What is counted each time it is sent.
        source: What is counted when it is made: whether it was stored.
    """

    der: bytes
    headers: list[tuple[str, str]]
    expires: float = 0.0
    labels: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPSettings:
    """Times and limits, from the settings."""

    validity: timedelta = timedelta(hours=1)
    http_max_age: timedelta = timedelta(minutes=5)
    nonce_max: int = 128
    direct_signing: bool = False


@dataclass(slots=True)
class _Memory:
    """What is true until the topic ``pki`` moves; then it is replaced as a whole.

    Who began with one object writes into that object only, so that nothing learned before a
    change can be found after it.
    """

    answers: dict[tuple[str, bytes | str], OCSPAnswer] = field(default_factory=dict)
    prepared: PreparedAnswers = field(default_factory=PreparedAnswers)
    cas: dict[tuple[str, bytes, bytes], AuthorityKey] = field(default_factory=dict)
    revoked: dict[tuple[str, str, str], RevokedSerial] | None = None


class _Attempt(Protocol):
    """Makes an answer from what is true at this moment."""

    def __call__(self, memory: _Memory, *, is_fresh: bool) -> OCSPAnswer:
        """Make it."""


class OCSPService:
    """Answers for every CA key of this installation (RFC 6960, 5019, 9654)."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        responders: ResponderService,
        cache: ResponseCache,
        settings: OCSPSettings,
    ) -> None:
        self._units = units
        self._monotonic = units.clock.monotonic
        self._authorities = authorities
        self._responders = responders
        self._cache = cache
        self._settings = settings
        self._memory = _Memory()
        self._issued: dict[tuple[str, str, str], bool] = {}
        self._lock = threading.Lock()
        self._flights = tuple(threading.Lock() for _ in range(_FLIGHTS))
        self.count: Callable[..., None] = lambda *_labels: None

    def forget(self) -> None:
        """Drop everything that a change could have made untrue (topic ``pki``)."""
        self._memory = _Memory()

    def remembered(self, issuer_id: str, asked: bytes | str, *labels: str) -> OCSPAnswer | None:
        """The answer to exactly these request bytes, if memory has one that may still be sent.

        Only for a caller that knows this process's memory to be current. A hit is counted, with
        ``labels`` of the caller.

        Args:
            issuer_id: Whose OCSP service was asked.
            asked: The request, or the text in an address that ``note_text`` was told of.
            labels: Counted along with a hit.
        """
        found = self._memory.answers.get((issuer_id, asked))
        if found is None or found.expires <= self._monotonic():
            return None
        self.count(*labels, "cache_hit", *found.labels)
        return found

    def repeated(self, issuer_id: str, der: bytes, *labels: str) -> OCSPAnswer | None:
        """The answer to a request that differs from an earlier one in its nonce only.

        Like ``remembered``, for a caller that knows this process's memory to be current.

        Raises:
            ResponderNotConfigured, ResponderKeyUnusable: See ``ResponderService.get``.
        """
        memory = self._memory
        found = memory.prepared.find(issuer_id, der)
        if found is None:
            return None
        prepared, nonce = found
        answer = self._signed(prepared, nonce)
        if memory is not self._memory:
            return None  # something was revoked while this answer was signed
        self.count(*labels, *answer.labels)
        return answer

    def note_text(self, issuer_id: str, text: str, der: bytes) -> None:
        """A text in an address means this request: the next time it need not be decoded."""
        answers = self._memory.answers
        found = answers.get((issuer_id, der))
        if found is not None:
            _remember(answers, (issuer_id, text), found)

    def answer(self, issuer_id: str, der: bytes, *, is_fresh: bool) -> OCSPAnswer:
        """Answer one request; remembers and stores nonce-free answers about known serials.

        Args:
            issuer_id: Whose OCSP service was asked.
            der: The request.
            is_fresh: Whether this process's memory is confirmed to be current.

        Raises:
            ResponderNotConfigured, ResponderKeyUnusable: See ``ResponderService.get``.
            CertctlError: The database is unavailable: never a "good" from a guess (OCSP-7).
        """
        try:
            request = parse_request(der)
        except MalformedOCSPRequest as error:
            is_nonce = isinstance(error, MalformedOCSPNonce)
            self.count("request_invalid", *(["nonce_malformed"] if is_nonce else ()))
            return _error(ResponseStatus.MALFORMED_REQUEST)
        nonce = request.nonce
        if nonce is not None and len(nonce) > self._settings.nonce_max:
            nonce = None

        def attempt(memory: _Memory, *, is_fresh: bool) -> OCSPAnswer:
            key = self._ca_of(memory, issuer_id, request)
            if key is None:
                return _error(ResponseStatus.UNAUTHORIZED, "issuer_not_found")
            if request.nonce is not None:
                prepared = self._prepared(
                    memory, key, request.cert_ids, is_fresh=is_fresh, is_echoed=nonce is not None
                )
                if is_fresh and nonce is not None and prepared.is_known:
                    memory.prepared.keep(issuer_id, der, nonce, prepared)
                return self._signed(prepared, nonce)
            place = (issuer_id, der)
            if len(request.cert_ids) == 1:
                return self._kept(memory, place, key, request.cert_ids[0], is_fresh=is_fresh)
            answer = self._built(memory, key, request.cert_ids, is_fresh=is_fresh)
            if is_fresh:
                _remember(memory.answers, place, answer)
            return answer

        return self._settled(attempt, is_fresh=is_fresh)

    def answer_serial(
        self, issuer_id: str, serial: str, hash_algorithm: CertIDHash, *, is_fresh: bool
    ) -> OCSPAnswer | None:
        """Answer about a serial number (operators and curl); None when the issuer is unknown."""
        place = (issuer_id, f"serial:{hash_algorithm}:{serial}".encode())
        if is_fresh:
            found = self.remembered(*place)
            if found is not None:
                return found
        keys = self._authorities.authority_keys(issuer_id)
        if not keys:
            return None

        def attempt(memory: _Memory, *, is_fresh: bool) -> OCSPAnswer:
            key = self._owner(issuer_id, keys, serial)
            if key.state in SILENT:
                return _error(ResponseStatus.UNAUTHORIZED, "issuer_not_found")
            wanted = cert_id(hash_algorithm, key.certificate, serial)
            return self._kept(memory, place, key, wanted, is_fresh=is_fresh)

        return self._settled(attempt, is_fresh=is_fresh)

    def _settled(self, attempt: _Attempt, *, is_fresh: bool) -> OCSPAnswer:
        """An answer during whose making nothing changed, counted."""
        memory = self._memory
        answer = attempt(memory, is_fresh=is_fresh)
        for _ in range(_ATTEMPTS):
            if memory is self._memory:
                break
            # Something was revoked while this answer was signed: it must not say "good".
            memory = self._memory
            answer = attempt(memory, is_fresh=False)
        self.count(*answer.labels, *([answer.source] if answer.source else ()))
        return answer

    def _owner(self, issuer_id: str, keys: Sequence[AuthorityKey], serial: str) -> AuthorityKey:
        """The CA key that signed a serial; the current one for a serial that none has signed."""
        for key in keys:
            if self._issued.get((issuer_id, key.ca_key_id, serial)):
                return key
        with self._units.read() as uow:
            for key in keys:
                if self._authorities.is_issued(uow, issuer_id, key.ca_key_id, serial):
                    return key
        return self._authorities.find_current(issuer_id) or keys[-1]

    def _kept(
        self,
        memory: _Memory,
        place: tuple[str, bytes],
        key: AuthorityKey,
        wanted: CertID,
        *,
        is_fresh: bool,
    ) -> OCSPAnswer:
        """The stored answer about one certificate, else a new one, which is stored (OCC-3)."""
        flight = self._flights[hash((key.ca_key_id, wanted.serial)) % _FLIGHTS]
        with flight:
            if is_fresh:
                # Whoever held the lock before may have made it.
                found = memory.answers.get(place)
                if found is not None and found.expires > self._units.clock.monotonic():
                    return replace(found, source="cache_hit")
            waiting = self._cache.waiting(key, wanted)
            stored = self._cache.find(key, wanted, is_direct=self._is_direct(key))
            if stored is not None:
                answer = self._ready(stored, "cache_hit")
            else:
                status, revoked = self._status(memory, key, wanted.serial, is_fresh=is_fresh)
                if status is CertStatus.UNKNOWN:
                    return self._built(memory, key, (wanted,), is_fresh=is_fresh)
                signed = self._shared(key, wanted, status, revoked, waiting)
                answer = self._ready(signed, "cache_miss")
            if is_fresh:
                _remember(memory.answers, place, answer)
            return answer

    def _shared(
        self,
        key: AuthorityKey,
        wanted: CertID,
        status: CertStatus,
        revoked: RevokedSerial | None,
        waiting: SignedAnswer | None,
    ) -> SignedAnswer:
        """A new answer that others will find, or one that is on its way into the table."""
        facts = SignedFacts(
            cert_id=wanted,
            status=(
                status,
                revoked.revoked_at if revoked else None,
                revoked.reason if revoked else None,
            ),
            responder_serial=canonical(self._signer(key)[0].serial_number),
        )
        if waiting is not None and self._cache.still_holds(waiting, key, facts):
            return waiting
        signed = self.sign(key, wanted, revoked)
        if _is_plain(key, wanted) and self._issued.get(_place(key, wanted.serial)):
            self._cache.put(signed)
        return signed

    def _ready(self, signed: SignedAnswer, source: str) -> OCSPAnswer:
        """A stored or new answer with its headers, for as long as it lasts."""
        return self._with_headers(
            signed.der,
            signed.this_update,
            signed.next_update,
            labels=("request_success", _STATUS_LABELS[signed.status]),
            source=source,
            is_kept=True,
        )

    def _with_headers(
        self,
        der: bytes,
        this_update: datetime,
        end: datetime,
        *,
        labels: tuple[str, ...],
        source: str = "",
        is_kept: bool,
    ) -> OCSPAnswer:
        left = max(end - self._units.clock.now(), timedelta(0))
        max_age = min(self._settings.http_max_age, left)
        expires = 0.0
        if is_kept:
            # Whatever leaves memory may lie in a cache for max-age: it has to last as long.
            keep = max(min(max_age, left - max_age), timedelta(0))
            expires = self._units.clock.monotonic() + keep.total_seconds()
        return OCSPAnswer(
            der=der,
            headers=_headers(der, this_update, end, max_age),
            expires=expires,
            labels=labels,
            source=source,
        )

    def _ca_of(self, memory: _Memory, issuer_id: str, request: OCSPRequest) -> AuthorityKey | None:
        """The one CA key that every CertID names (OCSP-6)."""
        first = request.cert_ids[0]
        if first.hash_algorithm is None:
            return None
        found = memory.cas.get((issuer_id, first.name_hash, first.key_hash))
        if found is None:
            found = self._find_ca(issuer_id, first)
            if found is None:
                return None
            memory.cas[issuer_id, first.name_hash, first.key_hash] = found
        for other in request.cert_ids[1:]:
            if other.hash_algorithm is None or (
                issuer_hashes(other.hash_algorithm, found.certificate)
                != (other.name_hash, other.key_hash)
            ):
                return None
        return found

    def _find_ca(self, issuer_id: str, wanted: CertID) -> AuthorityKey | None:
        assert wanted.hash_algorithm is not None  # noqa: S101 - the caller has looked
        for key in self._authorities.authority_keys(issuer_id):
            if key.state in SILENT:
                continue
            hashes = issuer_hashes(wanted.hash_algorithm, key.certificate)
            if hashes == (wanted.name_hash, wanted.key_hash):
                return key
        return None

    def _prepared(
        self,
        memory: _Memory,
        key: AuthorityKey,
        wanted: tuple[CertID, ...],
        *,
        is_fresh: bool,
        is_echoed: bool = False,
    ) -> PreparedAnswer:
        """All that is said about some certificates, and how it is counted."""
        statuses = [self._status(memory, key, item.serial, is_fresh=is_fresh) for item in wanted]
        labels = ["request_success"]
        for status, _ in statuses:
            labels.append(_STATUS_LABELS[status])
            if status is CertStatus.UNKNOWN:
                labels.append("cert_not_found")
        if is_echoed:
            labels.append("nonce_echoed")
        return PreparedAnswer(key=key, wanted=wanted, statuses=statuses, labels=tuple(labels))

    def _signed(self, prepared: PreparedAnswer, nonce: bytes | None) -> OCSPAnswer:
        """The answer for one request with a nonce, which no cache may keep."""
        certificate, private, limit = self._signer(prepared.key)
        now, end = self._period(limit)
        der = prepared.signed(certificate, private, now, end, nonce)
        return OCSPAnswer(der=der, headers=_NO_STORE, labels=prepared.labels)

    def _built(
        self, memory: _Memory, key: AuthorityKey, wanted: tuple[CertID, ...], *, is_fresh: bool
    ) -> OCSPAnswer:
        """An answer for one request without a nonce: about several or about unknown serials."""
        prepared = self._prepared(memory, key, wanted, is_fresh=is_fresh)
        certificate, private, limit = self._signer(key)
        now, end = self._period(limit)
        return self._with_headers(
            prepared.signed(certificate, private, now, end, None),
            now,
            end,
            labels=prepared.labels,
            is_kept=prepared.is_known,
        )

    def sign(
        self, key: AuthorityKey, wanted: CertID, revoked: RevokedSerial | None
    ) -> SignedAnswer:
        """Sign the answer about one known certificate.

        Raises:
            ResponderNotConfigured, ResponderKeyUnusable: See ``ResponderService.get``.
        """
        certificate, private, limit = self._signer(key)
        now, end = self._period(limit)
        status = CertStatus.GOOD if revoked is None else CertStatus.REVOKED
        return SignedAnswer(
            key=key,
            cert_id=wanted,
            der=build_response(
                responses=[single(wanted, (status, revoked), now, end)],
                responder_cert=certificate,
                responder_key=private,
                produced_at=now,
            ),
            status=status,
            responder_serial=canonical(certificate.serial_number),
            this_update=now,
            next_update=end,
            reason=revoked.reason if revoked else None,
            revoked_at=revoked.revoked_at if revoked else None,
        )

    def _period(self, limit: datetime) -> tuple[datetime, datetime]:
        """``thisUpdate`` and ``nextUpdate`` of an answer that is signed now (OCSP-9)."""
        now = self._units.clock.now().replace(microsecond=0)
        end = now + self._settings.validity
        if limit > now:  # of a CA that has ended, nothing ends later
            end = min(end, limit)
        return now, end

    def _is_direct(self, key: AuthorityKey) -> bool:
        return self._settings.direct_signing and key.may_sign_ocsp

    def _signer(self, key: AuthorityKey) -> tuple[x509.Certificate, SigningKey, datetime]:
        if self._is_direct(key):
            if key.private_key is None:
                raise ResponderNotConfigured(log={"cause": "the CA key is not at hand"})
            return key.certificate, key.key, key.not_after
        responder = self._responders.get(key)
        return responder.certificate, responder.key, responder.not_after

    def _status(
        self, memory: _Memory, key: AuthorityKey, serial: str, *, is_fresh: bool
    ) -> tuple[CertStatus, RevokedSerial | None]:
        """Revocation row → revoked; ledger row → good; else unknown (OCSP-7)."""
        place = _place(key, serial)
        if is_fresh and self._issued.get(place):
            revoked = self._revocations(memory).get(place)
            if revoked is not None:
                return CertStatus.REVOKED, revoked
            return CertStatus.GOOD, None
        r = certificate_revocations.c
        with self._units.read() as uow:
            row = uow.first(
                sa.select(r.revoked_at, r.reason).where(
                    r.issuer_id == key.issuer_id,
                    r.ca_key_id == key.ca_key_id,
                    r.serial_number == serial,
                )
            )
            is_issued = self._authorities.is_issued(uow, key.issuer_id, key.ca_key_id, serial)
        if is_issued:
            self._note_issued(place)
        if row is not None:
            return CertStatus.REVOKED, RevokedSerial(
                revoked_at=row.revoked_at, reason=CRLReason(row.reason)
            )
        return (CertStatus.GOOD if is_issued else CertStatus.UNKNOWN), None

    def _note_issued(self, place: tuple[str, str, str]) -> None:
        if len(self._issued) >= _MAX_ISSUED:
            self._issued = {}
        self._issued[place] = True

    def _revocations(self, memory: _Memory) -> dict[tuple[str, str, str], RevokedSerial]:
        """Every revoked serial, read once after each change."""
        if memory.revoked is not None:
            return memory.revoked
        with self._lock:
            if memory.revoked is None:
                r = certificate_revocations.c
                with self._units.read() as uow:
                    rows = uow.execute(
                        sa.select(
                            r.issuer_id, r.ca_key_id, r.serial_number, r.revoked_at, r.reason
                        ).where(r.ca_key_id != "")
                    )
                    memory.revoked = {
                        (row.issuer_id, row.ca_key_id, row.serial_number): RevokedSerial(
                            revoked_at=row.revoked_at, reason=CRLReason(row.reason)
                        )
                        for row in rows
                    }
            return memory.revoked


def _place(key: AuthorityKey, serial: str) -> tuple[str, str, str]:
    return key.issuer_id, key.ca_key_id, serial


def _is_plain(key: AuthorityKey, wanted: CertID) -> bool:
    """Whether a CertID is written as everybody writes it: only such answers are of use to others."""
    assert wanted.hash_algorithm is not None  # noqa: S101 - it named a CA of ours
    return wanted.der == cert_id(wanted.hash_algorithm, key.certificate, wanted.serial).der


def _remember(
    answers: dict[tuple[str, bytes | str], OCSPAnswer],
    key: tuple[str, bytes | str],
    answer: OCSPAnswer,
) -> None:
    if len(answers) >= _MAX_ANSWERS:
        for old in list(answers)[: _MAX_ANSWERS // 10]:
            answers.pop(old, None)
    answers[key] = answer


_MEDIA_TYPE = ("Content-Type", "application/ocsp-response")
_NO_STORE: list[tuple[str, str]] = [_MEDIA_TYPE, ("Cache-Control", "no-store")]


def _error(status: ResponseStatus, *labels: str) -> OCSPAnswer:
    return OCSPAnswer(der=error_response(status), headers=_NO_STORE, labels=labels)


def _headers(der: bytes, now: datetime, end: datetime, max_age: timedelta) -> list[tuple[str, str]]:
    seconds = int(max_age.total_seconds())
    return [
        _MEDIA_TYPE,
        ("Content-Length", str(len(der))),
        ("Cache-Control", f"public, max-age={seconds}, no-transform, must-revalidate"),
        ("ETag", f'"{hashlib.sha256(der).hexdigest()}"'),
        ("Last-Modified", format_datetime(now, usegmt=True)),
        ("Expires", format_datetime(end, usegmt=True)),
    ]
