"""Keys as the authorities use them: counted, and with no way out (02 SIGN-1, SIGN-2, OPS-1)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from certctl_core.contracts.signers import KeyRejectedBySigner, SignerUnavailable
from certctl_core.kernel.observability import REGISTRY
from certctl_core.lifecycle.authorities.signers import counted
from certctl_core.pki.errors import UnsupportedKey
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.x509 import build_root
from certctl_core.testing.fakes import EPOCH

pytestmark = pytest.mark.spec("02/SIGN-2")


def count(result: str) -> float:
    metric = REGISTRY.get("certctl_signer_operations_total")
    assert metric is not None
    return metric.value("test", result)


@pytest.mark.parametrize("algorithm", sorted(set(KeyAlgorithm) - {KeyAlgorithm.RSA_4096}))
def test_signs_as_the_key_itself(algorithm: KeyAlgorithm) -> None:
    try:
        key = generate(algorithm)
    except UnsupportedKey as error:
        pytest.skip(error.detail)
    wrapped: Any = counted(key, "test")
    before = count("success")
    root = build_root(
        "Counted CA", wrapped, serial=7, not_before=EPOCH, not_after=EPOCH.replace(year=2040)
    )
    root.verify_directly_issued_by(root)
    assert count("success") == before + 1
    assert isinstance(wrapped, _base(key))
    for name in ("private_bytes", "private_bytes_raw", "private_numbers"):
        with pytest.raises(KeyRejectedBySigner):
            getattr(wrapped, name)()
    assert copy.deepcopy(wrapped) is copy.copy(wrapped) is wrapped
    with pytest.raises(TypeError):
        pickle.dumps(wrapped)


def _base(key: Any) -> type:
    bases = (
        rsa.RSAPrivateKey,
        ec.EllipticCurvePrivateKey,
        ed25519.Ed25519PrivateKey,
        mldsa.MLDSA44PrivateKey,
        mldsa.MLDSA65PrivateKey,
        mldsa.MLDSA87PrivateKey,
    )
    return next(base for base in bases if isinstance(key, base))


class Broken:
    """A key whose signer lets the errors of its library through."""

    def sign(self, *_: object) -> bytes:
        message = "vendor library says 0x30, PIN 4711"
        raise RuntimeError(message)


def test_the_error_of_a_foreign_library_is_typed_and_counted() -> None:
    key: Any = counted(generate(KeyAlgorithm.ECDSA_P256), "test")
    key._key = Broken()
    before = count("failure")
    with pytest.raises(SignerUnavailable) as caught:
        key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    assert "4711" not in f"{caught.value!r}{caught.value.data}"
    assert caught.value.__cause__ is None
    assert count("failure") == before + 1


def test_what_is_no_key_of_ours_is_refused() -> None:
    with pytest.raises(KeyRejectedBySigner):
        counted(Broken(), "test")  # type: ignore[arg-type] # as a broken plugin would give it
