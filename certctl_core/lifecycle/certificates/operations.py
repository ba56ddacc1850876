"""The use cases of the certificates room, as data. Creation and renewal: issuance, renewal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import cast

from cryptography import x509

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.operations import (
    Call,
    File,
    Operation,
    Resource,
    Transaction,
    covers,
    merge_patch,
)
from certctl_core.lifecycle.certificates.errors import (
    CertificateNameTaken,
    CertificateNotFound,
    NoVersionYet,
    VersionNotFound,
    WrongState,
)
from certctl_core.lifecycle.certificates.events import CertificateRetrieved
from certctl_core.lifecycle.certificates.schemas import (
    CertificateBody,
    CertificateDetails,
    CertificateQuery,
    CertificateView,
    ExportQuery,
    PatchCertificate,
    PEMExport,
    VersionQuery,
    VersionView,
)
from certctl_core.lifecycle.certificates.service import SORTS, CertificateService
from certctl_core.people.access import PermissionDenied
from certctl_core.pki.x509 import describe, split_pem

BindIssuer = Callable[[Uow, str | None], str]


def operations(
    service: CertificateService,
    *,
    bind_issuer: BindIssuer,
    bind: Callable[[Uow, CertificateBody], None],
) -> tuple[Operation, ...]:
    """Declare list, get, replace, patch, archive, versions, details and export.

    Args:
        service: The room's service.
        bind_issuer: Checks that an issuer (None: the default) may be used, and gives its id.
        bind: Checks that profile and policy of a body exist.
    """

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def key(call: Call) -> str:
        return call.path["certificate_id"]

    def scope(call: Call) -> Resource:
        return service.resource(uow(call), key(call))

    def replace(call: Call, body: CertificateBody) -> CertificateView:
        bind(uow(call), body)
        issuer_id = service.get(uow(call), key(call)).issuer_id
        if body.issuer_id != issuer_id:  # a bound one may be disabled meanwhile
            issuer_id = bind_issuer(uow(call), body.issuer_id)
        _require_target(call, body.certificate_profile_id, issuer_id)
        return service.update(
            uow(call), key(call), body, issuer_id=issuer_id, if_match=call.if_match
        )

    def patch(call: Call) -> CertificateView:
        current = service.get(uow(call), key(call))
        assert call.body is not None  # noqa: S101 - the dispatcher has validated it
        return replace(call, merge_patch(CertificateBody, current, call.body))

    def details(call: Call) -> CertificateDetails:
        version = service.current_version(uow(call), key(call))
        certificates = split_pem(version.pem_chain)
        return CertificateDetails(
            version=version,
            details=asdict(describe(certificates[0])),
            chain=[asdict(describe(item)) for item in certificates[1:]],
        )

    def export(call: Call) -> PEMExport | File:
        query = cast("ExportQuery", call.query)
        version = (
            service.version(uow(call), key(call), query.version_id)
            if query.version_id
            else service.current_version(uow(call), key(call))
        )
        uow(call).emit(
            CertificateRetrieved(
                resource_id=key(call), format="pem", serial_number=version.serial_number
            )
        )
        end = "-----END CERTIFICATE-----\n"
        leaf, _, chain = version.pem_chain.partition(end)
        if query.download:
            return File(
                content=version.pem_chain.encode(),
                media_type="application/x-pem-file",
                filename=f"{file_stem(version)}.pem",
            )
        return PEMExport(cert_pem=leaf + end, chain_pem=chain, full_pem=version.pem_chain)

    gone = (CertificateNotFound,)
    return (
        Operation(
            name="certificates.list",
            method="GET",
            path="/certificates",
            summary="List managed certificates",
            permission="certificate.read",
            query=CertificateQuery,
            output=CertificateView,
            is_list=True,
            is_scoped=True,
            collection="certificates",
            may_rest=True,
            sorts=tuple(SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(
                uow(call),
                cast("CertificateQuery", call.query),
                scopes=None if call.scopes is None else list(call.scopes),
            ),
        ),
        Operation(
            name="certificates.get",
            method="GET",
            path="/certificates/{certificate_id}",
            summary="Show a managed certificate",
            permission="certificate.read",
            resource=scope,
            output=CertificateView,
            errors=gone,
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), key(call)),
        ),
        Operation(
            name="certificates.replace",
            method="PUT",
            path="/certificates/{certificate_id}",
            summary="Replace the mutable part of a certificate",
            permission="certificate.edit",
            resource=scope,
            body=CertificateBody,
            output=CertificateView,
            errors=(*gone, WrongState, CertificateNameTaken, PreconditionFailed),
            run=lambda call: replace(call, cast("CertificateBody", call.body)),
        ),
        Operation(
            name="certificates.update",
            method="PATCH",
            path="/certificates/{certificate_id}",
            summary="Change members of a certificate",
            permission="certificate.edit",
            resource=scope,
            body=PatchCertificate,
            output=CertificateView,
            errors=(*gone, WrongState, CertificateNameTaken, PreconditionFailed),
            run=patch,
        ),
        Operation(
            name="certificates.archive",
            method="DELETE",
            path="/certificates/{certificate_id}",
            summary="Archive a certificate",
            permission="certificate.delete",
            resource=scope,
            status=204,
            is_destructive=True,
            errors=(*gone, WrongState),
            run=lambda call: service.archive(uow(call), key(call)),
        ),
        Operation(
            name="certificates.versions",
            method="GET",
            path="/certificates/{certificate_id}/versions",
            summary="List the issued versions of a certificate",
            permission="certificate.read",
            resource=scope,
            query=VersionQuery,
            output=VersionView,
            is_list=True,
            collection="certificates",
            sorts=("created_at", "not_after"),
            errors=gone,
            transaction=Transaction.READ,
            run=lambda call: service.version_page(
                uow(call), key(call), cast("VersionQuery", call.query)
            ),
        ),
        Operation(
            name="certificates.details",
            method="GET",
            path="/certificates/{certificate_id}/details",
            summary="Show what stands in the current certificate and its chain",
            permission="certificate.read",
            resource=scope,
            output=CertificateDetails,
            errors=(*gone, NoVersionYet),
            transaction=Transaction.READ,
            run=details,
        ),
        Operation(
            name="certificates.download",
            method="GET",
            path="/certificates/{certificate_id}/export/pem",
            summary="Download a certificate with its chain (PEM)",
            permission="certificate.read",
            resource=scope,
            query=ExportQuery,
            output=PEMExport,
            media_type="application/x-pem-file",
            errors=(*gone, NoVersionYet, VersionNotFound),
            run=export,
        ),
    )


def _require_target(call: Call, profile_id: str | None, issuer_id: str) -> None:
    """A change must not lead out of the caller's scope ("Create checks the target", 05 RBAC-14)."""
    if not covers(call.scopes, Resource(profile_id=profile_id, issuer_id=issuer_id)):
        raise PermissionDenied(permission="certificate.edit")


def file_stem(version: VersionView) -> str:
    """A file name for a version: the first label of its subject, safe characters only."""
    certificate: x509.Certificate = split_pem(version.pem_chain)[0]
    values = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(values[0].value) if values else version.serial_number
    safe = "".join(
        ch if ch.isalnum() or ch in "-._" else "_" for ch in text.replace("*", "wildcard")
    )
    return safe.strip(".")[:100] or "certificate"
