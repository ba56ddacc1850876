"""Makers of what tests need: certification requests, issued certificates, actors with roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, generate, signature_hash
from certctl_core.pki.names import parse_general_name, to_x509

if TYPE_CHECKING:
    from certctl_core.app import Core
    from certctl_core.lifecycle.issuance import IssuedCertificate


def make_csr(
    *names: str,
    key: SigningKey | None = None,
    common_name: str | None = None,
    must_staple: bool = False,
    attributes: tuple[tuple[str, str], ...] = (),
) -> str:
    """A PKCS#10 request in PEM.

    Args:
        names: Subject alternative names of any type; the first is the common name too.
        key: The key; a fresh P-256 one when None.
        common_name: Another common name; empty for none.
        must_staple: Ask for the TLS feature.
        attributes: What the subject has before its common name: (dotted OID, value).
    """
    private = key or generate(KeyAlgorithm.ECDSA_P256)
    subject = names[0] if common_name is None and names else common_name
    parts = [x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in attributes]
    if subject:
        parts.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, subject))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if names:
        san = to_x509([parse_general_name(name) for name in names])
        builder = builder.add_extension(san, critical=False)
    if must_staple:
        feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
        builder = builder.add_extension(feature, critical=False)
    digest = signature_hash(private.public_key())
    signed = builder.sign(private, digest)  # type: ignore[arg-type] # SHA-2, or None
    return signed.public_bytes(Encoding.PEM).decode()


def issue(core: Core, *names: str, **members: Any) -> IssuedCertificate:
    """A certificate issued through the choke point by the built-in CA."""
    return core.issue(make_csr(*names), **members)


def actor_with(core: Core, *role_ids: str, actor_id: str = "u-tester") -> Actor:
    """An actor that holds these roles globally."""
    actor = Actor(type=ActorType.USER, id=actor_id, label=actor_id)
    with core.begin() as uow:
        for role_id in role_ids:
            core.rooms.access.grant(
                uow, actor_type=ActorType.USER, actor_id=actor_id, role_id=role_id
            )
    return actor
