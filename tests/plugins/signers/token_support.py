"""What the tests of keys in tokens share."""

from __future__ import annotations

from typing import Any

from certctl_signers.pkcs11 import PKCS11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from certctl_core.contracts.options import validate_config
from certctl_core.testing.plugin_fakes import fake_context


def signer_of(raw: dict[str, Any]) -> PKCS11:
    return PKCS11(validate_config(PKCS11.Config, raw), fake_context())


def verify(public: Any, signature: bytes, data: bytes) -> None:
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(signature, data)


def sign(key: Any, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(data, ec.ECDSA(hashes.SHA256()))
    else:
        made = key.sign(data)
    return bytes(made)
