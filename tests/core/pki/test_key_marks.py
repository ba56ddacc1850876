"""Digests by which published lists name weak keys (02 PROF-3)."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from certctl_core.pki.key_marks import MARK_BYTES, KeyMark, key_mark
from certctl_core.pki.keys import KeyAlgorithm, PublicKey, generate, spki_sha256
from tests.core.blocked_keys import debian_weak as vectors

pytestmark = pytest.mark.spec("02/PROF-3")


def _published() -> PublicKey:
    return load_pem_public_key(vectors.PUBLIC_KEY.encode())  # type: ignore[return-value]


def test_a_modulus_is_marked_as_boulder_marks_it() -> None:
    key = rsa.RSAPublicNumbers(65537, vectors.MODULUS).public_key()

    assert key_mark(key, KeyMark.OPENSSL) == bytes.fromhex(vectors.MODULUS_OPENSSL)


def test_a_key_is_marked_as_badkeys_marks_it() -> None:
    key = _published()

    assert key_mark(key, KeyMark.BADKEYS) == bytes.fromhex(vectors.PUBLIC_KEY_BADKEYS)
    assert key_mark(key, KeyMark.SPKI_SHA256) == bytes.fromhex(vectors.PUBLIC_KEY_SPKI_SHA256)


def test_openssl_prints_the_text_that_is_digested() -> None:
    key = generate(KeyAlgorithm.RSA_2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    command = ["openssl", "rsa", "-pubin", "-noout", "-modulus"]
    printed = subprocess.run(command, input=pem, capture_output=True, check=True).stdout

    assert key_mark(key, KeyMark.OPENSSL) == hashlib.sha1(printed).digest()[10:]  # noqa: S324


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_key_has_the_marks_that_it_can_have(algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm).public_key()

    for mark, size in MARK_BYTES.items():
        found = key_mark(key, mark)
        if mark is KeyMark.OPENSSL and not isinstance(key, rsa.RSAPublicKey):
            assert found is None
        else:
            assert found is not None
            assert len(found) == size
    assert key_mark(key, KeyMark.SPKI_SHA256) == bytes.fromhex(spki_sha256(key))


def test_numbers_are_written_without_leading_zeros() -> None:
    while True:
        curve_key = ec.generate_private_key(ec.SECP256R1()).public_key()
        if curve_key.public_numbers().x < 1 << 248:
            break
    x = curve_key.public_numbers().x.to_bytes(32).lstrip(b"\0")
    assert key_mark(curve_key, KeyMark.BADKEYS) == hashlib.sha256(x).digest()[:15]
    raw = bytes(1) + bytes(range(31))
    edwards = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    assert key_mark(edwards, KeyMark.BADKEYS) == hashlib.sha256(raw.lstrip(b"\0")).digest()[:15]
