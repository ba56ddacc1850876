"""What operators see of OCSP, and what they can make happen (02 §17)."""

from __future__ import annotations

import sqlalchemy as sa

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import FieldError, Invalid
from certctl_core.lifecycle.authorities import AuthorityKey, AuthorityService, UnknownAuthority
from certctl_core.lifecycle.certificates import CertificateService, NoVersionYet
from certctl_core.lifecycle.revocation._tables import ocsp_responder_certs
from certctl_core.lifecycle.revocation.errors import NoPublishing, PKIIssuerNotFound
from certctl_core.lifecycle.revocation.events import OCSPCachePurged
from certctl_core.lifecycle.revocation.ocsp import OCSPService
from certctl_core.lifecycle.revocation.responders import ResponderService
from certctl_core.lifecycle.revocation.responses import ResponseCache
from certctl_core.lifecycle.revocation.schemas import (
    OCSPCacheView,
    OCSPCheckView,
    OCSPStateView,
    PurgedView,
    ResponderView,
    RotatedView,
)
from certctl_core.pki.errors import PKIError
from certctl_core.pki.ocsp import (
    CertIDHash,
    CertStatus,
    build_request,
    cert_id,
    inspect_response,
    verify_response,
)
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import describe, split_pem

_DUE = "within its grace"


class OCSPAdmin:
    """The admin surface of OCSP."""

    def __init__(
        self,
        *,
        clock: Clock,
        authorities: AuthorityService,
        certificates: CertificateService,
        responders: ResponderService,
        ocsp: OCSPService,
        responses: ResponseCache,
        is_direct: bool,
    ) -> None:
        self._clock = clock
        self._authorities = authorities
        self._certificates = certificates
        self._responders = responders
        self._ocsp = ocsp
        self._responses = responses
        self._is_direct = is_direct

    def state(self, uow: Uow) -> OCSPStateView:
        """The responder of every CA key, and how many answers are stored."""
        keys = {(key.issuer_id, key.ca_key_id): key for key in self._authorities.authority_keys()}
        rows = uow.execute(
            sa.select(ocsp_responder_certs).order_by(
                ocsp_responder_certs.c.issuer_id, ocsp_responder_certs.c.created_at
            )
        ).all()
        responders = []
        for row in rows:
            key = keys.get((row.issuer_id, row.ca_key_id))
            fault = "its CA is not known here" if key is None else self._responders.fault_of(key)
            state = "ready" if not fault else "due" if fault == _DUE else "unusable"
            values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public mapping
            responders.append(ResponderView(**values, key_state=state, problem=fault or None))
        counts = self._responses.counts(uow)
        issuers = sorted({issuer_id for issuer_id, _ in counts})
        return OCSPStateView(
            responders=responders,
            cache=[
                OCSPCacheView(
                    issuer_id=issuer_id,
                    good=counts.get((issuer_id, CertStatus.GOOD), 0),
                    revoked=counts.get((issuer_id, CertStatus.REVOKED), 0),
                )
                for issuer_id in issuers
            ],
            direct_signing=self._is_direct,
            generated_at=uow.now,
        )

    def rotate(self, issuer_id: str, *, actor: Actor, request_id: str) -> RotatedView:
        """Replace the responders of an issuer now; emits ``ocsp_responder.rotated``.

        Raises:
            PKIIssuerNotFound: No CA of that name.
            ResponderNotConfigured: There is no usable place for keys, or no CA key at hand.
        """
        keys = self._authorities.authority_keys(issuer_id)
        if not keys:
            raise PKIIssuerNotFound
        ready = [key for key in keys if key.private_key is not None] or list(keys)
        serials = {
            key.ca_key_id: self._responders.rotate(
                key, cause="asked for", actor=actor, request_id=request_id
            ).serial
            for key in ready
        }
        return RotatedView(issuer_id=issuer_id, serial_numbers=serials)

    def purge(self, uow: Uow, *, issuer_id: str | None, serial: str | None) -> PurgedView:
        """Delete stored answers; emits ``ocsp_cache.purged``.

        Every process drops what it keeps in memory, too.

        Raises:
            Invalid: The serial number is none.
        """
        wanted = None if serial is None else _serial(serial)
        purged = self._responses.purge(uow, issuer_id=issuer_id, serial=wanted)
        uow.emit(OCSPCachePurged(resource_id=issuer_id or "", serial_number=wanted, purged=purged))
        uow.wake("pki")
        return PurgedView(purged=purged)

    def check(self, uow: Uow, certificate_id: str) -> OCSPCheckView:
        """Ask the OCSP service about the current version, as a relying party does.

        Raises:
            CertificateNotFound, NoVersionYet: As named.
            NoPublishing: The issuer answers OCSP itself.
            ResponderNotConfigured, ResponderKeyUnusable: See ``ResponderService.get``.
        """
        view = self._certificates.get(uow, certificate_id)
        if view.current_version_id is None:
            raise NoVersionYet(certificate_id=certificate_id)
        version = self._certificates.version(uow, certificate_id, view.current_version_id)
        key = self._key(version.issuer_id, version.ca_key_id)
        wanted = cert_id(CertIDHash.SHA1, key.certificate, version.serial_number)
        answer = self._ocsp.answer(key.issuer_id, build_request([wanted]), is_fresh=False)
        info = inspect_response(answer.der)
        problem = None
        try:
            verify_response(answer.der, issuer_cert=key.certificate, at=self._clock.now())
        except PKIError as error:
            problem = str(error)
        said = info.answers[0] if info.answers else None
        urls = describe(split_pem(version.pem_chain)[0]).ocsp_urls
        return OCSPCheckView(
            certificate_id=certificate_id,
            serial_number=version.serial_number,
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            url=urls[0] if urls else None,
            response_status="successful" if info.error is None else info.error.name.lower(),
            status=said.status.value if said else None,
            reason=said.reason if said else None,
            revoked_at=said.revoked_at if said else None,
            produced_at=info.produced_at,
            this_update=said.this_update if said else None,
            next_update=said.next_update if said else None,
            responder_key_id=info.responder_key_id,
            is_verified=problem is None,
            problem=problem,
        )

    def _key(self, issuer_id: str, ca_key_id: str | None) -> AuthorityKey:
        try:
            return self._authorities.authority_key(ca_key_id or "", issuer_id)
        except UnknownAuthority as error:
            raise NoPublishing(issuer_id=issuer_id) from error


def _serial(text: str) -> str:
    try:
        return canonical(text)
    except PKIError as error:
        message = "must be a serial number in hex"
        raise Invalid(fields=[FieldError(field="serial", message=message)]) from error
