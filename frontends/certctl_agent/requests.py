"""Certification requests: the right subject, the right types of names (KEY-03, KEY-04)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.pki.keys import SigningKey, signature_hash
from certctl_core.pki.names import MAX_COMMON_NAME, GeneralName, to_x509


def make_request(
    key: SigningKey,
    *,
    names: Sequence[GeneralName],
    common_name: str,
    must_staple: bool = False,
) -> str:
    """Make a PKCS#10 request in PEM.

    Args:
        key: Signs it.
        names: Subject alternative names, typed.
        common_name: Left out where it is longer than a subject may hold (RFC 5280 appendix A.1);
            the names say it all.
        must_staple: Ask for the TLS feature status_request (RFC 7633).
    """
    attributes = []
    if 0 < len(common_name) <= MAX_COMMON_NAME:
        attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(to_x509(names), critical=not attributes)
    if must_staple:
        feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
        builder = builder.add_extension(feature, critical=False)
    # The library's own list of key types lags behind what it signs with.
    request = builder.sign(cast("Any", key), cast("Any", signature_hash(key.public_key())))
    return request.public_bytes(Encoding.PEM).decode("ascii")
