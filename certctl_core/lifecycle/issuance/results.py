"""What an issuer gave back: held against what was asked for, and made ready to store and hand out."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.contracts.issuers import Issued, IssueRequest
from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.lifecycle.certificates import (
    CertificateView,
    DraftCertificate,
    IssuedVersion,
    VersionView,
)
from certctl_core.lifecycle.issuance.requests import authority_key_id
from certctl_core.lifecycle.issuance.rules import faults_of
from certctl_core.lifecycle.issuance.types import JobRef
from certctl_core.lifecycle.profiles import ProfileView
from certctl_core.pki.chain import order_chain
from certctl_core.pki.names import GeneralName
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import CSRInfo, parse_certificate, to_pem
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """What the caller may hand out: stored, verified, durable.

    Attributes:
        certificate: The managed certificate after the step.
        version: The stored version.
        certificate_pem: The leaf alone.
        chain_pem: Issuing CA first, without a self-signed root; may be empty.
    """

    certificate: CertificateView
    version: VersionView
    certificate_pem: str
    chain_pem: str


@dataclass(slots=True, kw_only=True)
class Order:
    """What the decision leaves for the steps after it.

    Attributes:
        entry: The order's row, but for state and times.
        draft: The certificate, while neither it nor the order is stored.
    """

    order_id: str
    view: CertificateView
    profile: ProfileView
    names: tuple[GeneralName, ...]
    csr: CSRInfo
    ekus: tuple[str, ...]
    lifetime: timedelta
    request: IssueRequest
    job: JobRef | None
    entry: dict[str, Any]
    draft: DraftCertificate | None = None


class NotAsAskedFor(Exception):
    """An issuer's result differs from the order.

    Attributes:
        leaf: The certificate.
        faults: What is wrong with it.
    """

    def __init__(self, leaf: x509.Certificate, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.leaf = leaf
        self.faults = faults


def verified(
    order: Order,
    result: Issued,
    leaf: x509.Certificate,
    authority: AuthorityKey | None,
    now: datetime,
) -> IssuedVersion:
    """Hold a result against the order (06 ISS-7, ISS-8).

    Args:
        order: What was asked for.
        result: What came back.
        leaf: Its certificate.
        authority: The CA key of ours that signed it; None for a foreign one.
        now: The time.

    Raises:
        NotAsAskedFor: It is something else.
        PKIError: What came with it cannot be read.
    """
    issuing: x509.Certificate | None
    if authority is not None:
        issuing, chain_pem = authority.certificate, authority.chain_pem
    else:
        chain, root = order_chain(leaf, [parse_certificate(item) for item in result.chain])
        issuing = chain[0] if chain else root
        chain_pem = "".join(to_pem(item) for item in chain)
    faults = faults_of(
        leaf,
        # Our own CA has checked signature and path before it gave the certificate away (02 CERT-20).
        None if authority is not None else issuing,
        csr=order.csr,
        names=order.names,
        ekus=order.ekus,
        not_after_cap=now + order.lifetime,
        now=now,
    )
    if issuing is None and result.chain:
        faults.append("none of the certificates that came with it has signed it")
    if faults:
        raise NotAsAskedFor(leaf, faults)
    der = leaf.public_bytes(Encoding.DER)
    return IssuedVersion(
        cert_der=der,
        chain_pem=chain_pem,
        serial_number=canonical(leaf.serial_number),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        fingerprint_sha256=hashlib.sha256(der).hexdigest(),
        spki_sha256=order.csr.spki_sha256,  # the leaf's, too: it was compared
        key_algorithm=order.csr.key.family,
        key_size=order.csr.key.size,
        issuer_id=order.view.issuer_id,
        ca_key_id=authority.ca_key_id if authority else authority_key_id(leaf, issuing),
        csr_pem=order.csr.pem,
        agent_id=order.job.agent_id if order.job else None,
        job_id=order.job.job_id if order.job else None,
        order_id=order.order_id,
        vendor_ref={"ref": str(result.vendor_ref)} if result.vendor_ref else None,
    )


def handed_out(view: CertificateView, version: VersionView) -> IssuedCertificate:
    """A stored version as its caller gets it."""
    end = "-----END CERTIFICATE-----\n"
    leaf, _, chain = version.pem_chain.partition(end)
    return IssuedCertificate(
        certificate=view, version=version, certificate_pem=leaf + end, chain_pem=chain
    )
