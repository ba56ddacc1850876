"""OCSP answers that are signed ahead of the requests (02 OCC-4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import sqlalchemy as sa
import structlog

from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities import AuthorityKey, AuthorityService
from certctl_core.lifecycle.revocation._tables import certificate_revocations
from certctl_core.lifecycle.revocation.ocsp import SILENT, OCSPService
from certctl_core.lifecycle.revocation.responses import ResponseCache
from certctl_core.lifecycle.revocation.types import RevokedSerial
from certctl_core.pki.ocsp import CertIDHash, cert_id
from certctl_core.pki.reasons import CRLReason

_log = structlog.get_logger("certctl.ocsp")
_BATCH = 500
_HASH = CertIDHash.SHA1
"""What nearly every client asks with (RFC 5019 §2.1.1)."""


class Presigner:
    """Fills the table with the answers about every certificate in force."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        ocsp: OCSPService,
        cache: ResponseCache,
    ) -> None:
        self._units = units
        self._authorities = authorities
        self._ocsp = ocsp
        self._cache = cache

    def run(self, *, lasting: timedelta, is_over: Callable[[], bool]) -> int:
        """Sign and store what is missing; returns how many.

        A CA key without a usable responder does not stop the others.

        Args:
            lasting: An answer that ends sooner is replaced.
            is_over: Whether to stop early; the next run goes on with what is missing.
        """
        made = 0
        for key in self._authorities.authority_keys():
            if key.state in SILENT:
                continue
            try:
                made += self._of_key(key, lasting, is_over)
            except CertctlError as error:
                _log.warning(
                    "ocsp.presign_failed",
                    issuer_id=key.issuer_id,
                    ca_key_id=key.ca_key_id,
                    code=error.code,
                )
        return made

    def _of_key(self, key: AuthorityKey, lasting: timedelta, is_over: Callable[[], bool]) -> int:
        made, after = 0, ""
        while not is_over():
            with self._units.read() as uow:
                serials = self._authorities.serials_in_force(
                    uow, key.issuer_id, key.ca_key_id, after=after, limit=_BATCH
                )
                if not serials:
                    break
                after = serials[-1]
                kept = self._cache.lasting(uow, key, _HASH, serials, uow.now + lasting)
                missing = [serial for serial in serials if serial not in kept]
                revoked = _revocations_of(uow, key, missing)
            if not missing:
                continue
            signed = [
                self._ocsp.sign(key, cert_id(_HASH, key.certificate, serial), revoked.get(serial))
                for serial in missing
            ]
            with self._units.begin() as uow:
                uow.commit_softly()
                self._cache.put_now(uow, signed)
            made += len(signed)
        return made


def _revocations_of(
    uow: Uow, key: AuthorityKey, serials: Sequence[str]
) -> dict[str, RevokedSerial]:
    r = certificate_revocations.c
    rows = uow.execute(
        sa.select(r.serial_number, r.revoked_at, r.reason).where(
            r.issuer_id == key.issuer_id,
            r.ca_key_id == key.ca_key_id,
            r.serial_number.in_(serials),
        )
    )
    return {
        row.serial_number: RevokedSerial(revoked_at=row.revoked_at, reason=CRLReason(row.reason))
        for row in rows
    }
