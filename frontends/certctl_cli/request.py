"""A new key and the request for its certificate, made on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem, signature_hash
from certctl_core.pki.names import (
    GeneralName,
    NameType,
    parse_dns,
    parse_email,
    parse_general_name,
    parse_uri,
    to_x509,
)
from certctl_core.pki.x509 import subject_name
from certctl_core.values import dataclass

ALGORITHMS = {
    "ecdsa-p256": KeyAlgorithm.ECDSA_P256,
    "ecdsa-p384": KeyAlgorithm.ECDSA_P384,
    "ecdsa-p521": KeyAlgorithm.ECDSA_P521,
    "rsa-2048": KeyAlgorithm.RSA_2048,
    "rsa-3072": KeyAlgorithm.RSA_3072,
    "rsa-4096": KeyAlgorithm.RSA_4096,
    "ed25519": KeyAlgorithm.ED25519,
    "ml-dsa-44": KeyAlgorithm.ML_DSA_44,
    "ml-dsa-65": KeyAlgorithm.ML_DSA_65,
    "ml-dsa-87": KeyAlgorithm.ML_DSA_87,
}
_MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndRequest:
    """A private key (PKCS#8 PEM) and its certification request (PKCS#10 PEM)."""

    key_pem: bytes
    csr_pem: str


def read_names(
    plain: Sequence[str],
    *,
    dns: Sequence[str] = (),
    ip: Sequence[str] = (),
    email: Sequence[str] = (),
    uri: Sequence[str] = (),
) -> tuple[GeneralName, ...]:
    """The names of a command line, checked, without repetitions, in their order.

    Args:
        plain: Of any type; told apart by their form.
        dns: Host names.
        ip: Addresses.
        email: Mail addresses.
        uri: URIs.

    Raises:
        PKIError: One of them is not usable; the message says which and why.
    """
    names = [parse_general_name(text) for text in plain]
    names += [GeneralName(type=NameType.DNS, value=parse_dns(text)) for text in dns]
    names += [_of_type(text, NameType.IP) for text in ip]
    names += [GeneralName(type=NameType.EMAIL, value=parse_email(text)) for text in email]
    names += [GeneralName(type=NameType.URI, value=parse_uri(text)) for text in uri]
    return tuple(dict.fromkeys(names))


def make(
    names: Sequence[GeneralName],
    algorithm: KeyAlgorithm,
    *,
    attributes: tuple[tuple[str, str], ...] = (),
) -> KeyAndRequest:
    """Make a key and a request for these names; the first is the common name if it fits.

    Args:
        names: What is to be certified.
        algorithm: Of the key.
        attributes: What the subject has besides: (dotted OID, value).

    Raises:
        PKIError: The linked OpenSSL lacks the algorithm, or an attribute's value does not fit.
    """
    key = generate(algorithm)
    first = names[0].value
    fits = len(first) <= _MAX_COMMON_NAME and names[0].type is not NameType.URI
    subject = subject_name(first if fits else None, attributes)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(to_x509(names), critical=not subject.rdns)
        .sign(key, signature_hash(key.public_key()))  # type: ignore[arg-type]
    )
    return KeyAndRequest(
        key_pem=private_key_pem(key),
        csr_pem=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
    )


def _of_type(text: str, wanted: NameType) -> GeneralName:
    name = parse_general_name(text)
    if name.type is not wanted:
        raise NotAnAddress(name=text)
    return name


class NotAnAddress(PKIError):
    """An IP address was wanted."""

    code = "not_an_address"
    text = "{name!r} is not an IP address."
