"""OCSP answers that lack only a nonce and the signature.

Who sends a nonce wants an answer signed for this one request (RFC 9654); yet such requests about one
certificate differ in the nonce alone, and the answers of one second in nonce and signature. What was
found out for the first of them therefore serves the others, for as long as it is true: until the
memory that it lies in is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.lifecycle.revocation.types import RevokedSerial
from certctl_core.pki.keys import SigningKey
from certctl_core.pki.ocsp import (
    CertID,
    CertStatus,
    SingleResponse,
    UnsignedResponse,
    before_nonce,
    sign_response,
    unsigned_response,
)
from certctl_core.pki.reasons import CRLReason

_MAX_PREPARED = 20_000
_MAX_SIZES = 4
"""Of nonces; clients use 16 or 32 bytes."""

Status = tuple[CertStatus, RevokedSerial | None]


def single(wanted: CertID, status: Status, now: datetime, end: datetime) -> SingleResponse:
    """What is said about one certificate from ``now`` to ``end``."""
    word, revoked = status
    return SingleResponse(
        cert_id=wanted,
        status=word,
        this_update=now,
        next_update=end,
        revoked_at=revoked.revoked_at if revoked else None,
        reason=revoked.reason if revoked else CRLReason.UNSPECIFIED,
    )


@dataclass(slots=True, eq=False)
class PreparedAnswer:
    """What is said about the certificates of a request, whenever it comes.

    Attributes:
        key: The CA key that all of them name.
        wanted / statuses: What is asked, and what is true of it.
        labels: What is counted each time it is sent.
    """

    key: AuthorityKey
    wanted: Sequence[CertID]
    statuses: Sequence[Status]
    labels: tuple[str, ...]
    _last: tuple[datetime, datetime, x509.Certificate, UnsignedResponse] | None = None

    @property
    def is_known(self) -> bool:
        """Whether all is said that there is to say: what is unknown today may be issued tomorrow."""
        return all(status is not CertStatus.UNKNOWN for status, _ in self.statuses)

    def signed(
        self,
        certificate: x509.Certificate,
        private: SigningKey,
        now: datetime,
        end: datetime,
        nonce: bytes | None,
    ) -> bytes:
        """The answer in DER.

        Args:
            certificate: Of who signs.
            private: The key that belongs to it.
            now: ``thisUpdate``, in whole seconds.
            end: ``nextUpdate``.
            nonce: What is echoed, or None.
        """
        last = self._last
        if last is None or last[:2] != (now, end) or last[2] is not certificate:
            unsigned = unsigned_response(
                responses=[
                    single(wanted, status, now, end)
                    for wanted, status in zip(self.wanted, self.statuses, strict=True)
                ],
                responder_cert=certificate,
                produced_at=now,
            )
            self._last = last = (now, end, certificate, unsigned)
        return sign_response(last[3], private, nonce=nonce)


@dataclass(slots=True, eq=False)
class PreparedAnswers:
    """Prepared answers by issuer and request, its nonce left out."""

    _found: dict[tuple[str, int, bytes], PreparedAnswer] = field(default_factory=dict)
    _sizes: tuple[int, ...] = ()

    def find(self, issuer_id: str, der: bytes) -> tuple[PreparedAnswer, bytes] | None:
        """The answer to a request that differs from an earlier one in its nonce only, and that nonce."""
        for size in self._sizes:
            found = self._found.get((issuer_id, size, der[:-size]))
            if found is not None:
                return found, der[-size:]
        return None

    def keep(self, issuer_id: str, der: bytes, nonce: bytes, answer: PreparedAnswer) -> None:
        """Let later requests find an answer; nothing happens where a nonce is not the last in its request."""
        shared = before_nonce(der, nonce)
        size = len(nonce)
        if shared is None or (size not in self._sizes and len(self._sizes) >= _MAX_SIZES):
            return
        if len(self._found) >= _MAX_PREPARED:
            self._found = {}
        self._found[issuer_id, size, shared] = answer
        if size not in self._sizes:
            self._sizes = (*self._sizes, size)
