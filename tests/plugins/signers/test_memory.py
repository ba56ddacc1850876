"""Keys in memory (spec 02 SIGN-7), and keys that only delegate (SIGN-2)."""

from __future__ import annotations

from typing import Any

import pytest
from certctl_signers.memory import Memory
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.signers import (
    GeneratedKey,
    KeyAlgorithm,
    KeyNotFound,
    KeyRefInvalid,
    KeyRefTaken,
)
from certctl_core.pki.keys import generate
from certctl_core.testing.plugin_fakes import fake_context
from certctl_core.testing.signer import SignerContract


class TestContract(SignerContract):
    plugin = Memory


@pytest.fixture
def signer():
    return Memory(PluginConfig(), fake_context())


@pytest.mark.spec("02/SIGN-7")
def test_references_are_numbered(signer):
    refs = [signer.generate(KeyAlgorithm.ED25519, "any").ref for _ in range(2)]
    assert refs == ["mem-1", "mem-2"]


def test_adopted_key_is_found_and_its_reference_taken(signer):
    key = generate(KeyAlgorithm.ED25519)
    signer.adopt("mem-1", key)
    assert signer.load("mem-1") is key
    with pytest.raises(KeyRefTaken):
        signer.adopt("mem-1", key)
    with pytest.raises(KeyRefInvalid):
        signer.adopt("file-1", key)
    assert signer.generate(KeyAlgorithm.ED25519, "x").ref == "mem-2"


def test_keys_end_with_it(signer):
    made = signer.generate(KeyAlgorithm.ED25519, "x")
    signer.close()
    with pytest.raises(KeyNotFound):
        signer.load(made.ref)


def delegating(key: Any) -> Any:
    """A key whose ``sign`` happens elsewhere, as with a token: no other member gives key bytes."""
    base = next(
        kind
        for kind in (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
        if isinstance(key, kind)
    )

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise AssertionError

    def sign(self: object, *args: Any, **kwargs: Any) -> bytes:
        signature: bytes = key.sign(*args, **kwargs)
        return signature

    members: dict[str, Any] = dict.fromkeys(base.__abstractmethods__, refuse)
    members["sign"] = sign
    members["public_key"] = lambda _: key.public_key()
    if "curve" in base.__abstractmethods__:
        members["curve"] = property(lambda _: key.curve)
    if "key_size" in base.__abstractmethods__:
        members["key_size"] = property(lambda _: key.key_size)
    return type("Delegating", (base,), members)()


class Token(Memory):
    kind = "token"
    algorithms = frozenset(
        {
            KeyAlgorithm.RSA_2048,
            KeyAlgorithm.ECDSA_P256,
            KeyAlgorithm.ECDSA_P384,
            KeyAlgorithm.ECDSA_P521,
            KeyAlgorithm.ED25519,
        }
    )

    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        made = super().generate(algorithm, ref_hint)
        key = delegating(made.key)
        self._keys[made.ref] = key
        return GeneratedKey(key=key, ref=made.ref)


@pytest.mark.spec("02/SIGN-2")
class TestDelegatingKeys(SignerContract):
    plugin = Token
