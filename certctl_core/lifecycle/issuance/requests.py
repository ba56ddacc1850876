"""Between a CSR and what an issuer is asked for."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509

from certctl_core.contracts.issuers import IssueRequest
from certctl_core.lifecycle.certificates import CertificateView, CreateCertificate
from certctl_core.lifecycle.issuance.errors import CommonNameMissing, CSRRejected
from certctl_core.lifecycle.profiles import ProfileView, Verdict
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import ca_key_id
from certctl_core.pki.names import GeneralName, NameType
from certctl_core.pki.x509 import CSRInfo, parse_csr, subject_name

_KEY_ID_BYTES = 20
_MOST_NAMES = 100
"""As in ``CertificateBody``: names of a CSR are no way around it."""


def parse(csr_pem: str) -> CSRInfo:
    """Read a CSR.

    Raises:
        CSRRejected: It breaks a rule of the parser, which says which one.
    """
    try:
        return parse_csr(csr_pem)
    except PKIError as error:
        raise CSRRejected(summary=str(error).rstrip("."), reasons=[str(error)]) from error


def with_csr_names(body: CreateCertificate, csr: CSRInfo) -> CreateCertificate:
    """Fill the names that the body leaves out from the CSR.

    Raises:
        CommonNameMissing: Neither has a name.
        CSRRejected: The CSR asks for more names than a body may.
    """
    sans = list(body.sans)
    if not sans and "sans" not in body.model_fields_set:
        sans = [name.value for name in csr.names]
    common_name = body.common_name or csr.common_name or (sans[0] if sans else None)
    if common_name is None:
        raise CommonNameMissing
    sans = [san for san in sans if san != common_name]
    if len(sans) > _MOST_NAMES:
        reason = f"it asks for {len(sans)} further names; {_MOST_NAMES} are the most"
        raise CSRRejected(summary=reason, reasons=[reason])
    return body.model_copy(update={"common_name": common_name, "sans": sans})


def raise_refusals(verdicts: list[Verdict]) -> None:
    """Refuse when a rule does.

    Raises:
        CSRRejected: With the reason of every rule that refused.
    """
    reasons = [item.detail or item.rule for item in verdicts if not item.ok]
    if reasons:
        summary = "; ".join(reason.rstrip(".") for reason in reasons)
        raise CSRRejected(summary=summary, reasons=reasons)


def issue_request(  # noqa: PLR0917 - one call, names equal to the arguments
    view: CertificateView,
    csr: CSRInfo,
    names: tuple[GeneralName, ...],
    profile: ProfileView,
    ekus: tuple[str, ...],
    lifetime: timedelta,
    order_id: str,
    idempotency_key: str,
    attributes: tuple[tuple[str, str], ...],
) -> IssueRequest:
    """What the issuer is asked for.

    Raises:
        CSRRejected: The subject cannot be built from the common name and ``attributes``.
    """
    by_type: dict[NameType, list[str]] = {}
    for name in names:
        by_type.setdefault(name.type, []).append(name.value)
    return IssueRequest(
        csr_der=csr.der,
        csr_pem=csr.pem,
        common_name=view.common_name,
        subject=_subject(view.common_name, attributes) if attributes else "",
        dns_names=tuple(by_type.get(NameType.DNS, ())),
        ip_addresses=tuple(by_type.get(NameType.IP, ())),
        emails=tuple(by_type.get(NameType.EMAIL, ())),
        uris=tuple(by_type.get(NameType.URI, ())),
        ekus=ekus,
        max_ttl=lifetime,
        must_staple=profile.must_staple,
        short_lived=profile.is_short_lived,
        include_aia=profile.include_aia,
        include_cdp=profile.include_cdp,
        idempotency_key=idempotency_key,
        tag=f"certctl:{view.id}:{order_id}",
    )


def _subject(common_name: str, attributes: tuple[tuple[str, str], ...]) -> str:
    try:
        return subject_name(common_name, attributes).rfc4514_string()
    except PKIError as error:
        raise CSRRejected(summary=str(error).rstrip("."), reasons=[str(error)]) from error


def authority_key_id(leaf: x509.Certificate, issuing: x509.Certificate | None) -> str | None:
    """The id of a foreign CA's key: of the key itself, else what the leaf says in our form."""
    if issuing is not None:
        return ca_key_id(issuing.public_key())
    try:
        extension = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    identifier = extension.value.key_identifier
    if identifier is None or len(identifier) != _KEY_ID_BYTES:
        return None
    return identifier.hex()
