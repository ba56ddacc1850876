"""A throw-away bundle, to ask a target for its plan without a certificate at hand."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certctl_core.contracts.targets import Bundle
from certctl_core.pki.keys import private_key_pem
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import to_pem


def sample_bundle(now: datetime) -> Bundle:
    """Make a self-signed certificate of a name that cannot exist, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample.invalid")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return Bundle.build(to_pem(certificate), "", private_key_pem(key), "sample", "sample")
