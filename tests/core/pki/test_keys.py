"""Key algorithms, ids and strength (02 §4, PROF-3)."""

from __future__ import annotations

import hashlib
import math
import secrets
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import keys
from certctl_core.pki.errors import (
    MalformedKey,
    PKIError,
    UnsupportedKey,
    WeakKey,
    WrongPassphrase,
)
from certctl_core.pki.keys import KeyAlgorithm, KeyFamily


@pytest.fixture(scope="module")
def made():
    return {algorithm: keys.generate(algorithm) for algorithm in KeyAlgorithm}


def test_description_names_the_algorithm(made):
    families = {
        "RSA-2048": (KeyFamily.RSA, 2048),
        "RSA-3072": (KeyFamily.RSA, 3072),
        "RSA-4096": (KeyFamily.RSA, 4096),
        "ECDSA-P256": (KeyFamily.ECDSA, 256),
        "ECDSA-P384": (KeyFamily.ECDSA, 384),
        "ECDSA-P521": (KeyFamily.ECDSA, 521),
        "Ed25519": (KeyFamily.ED25519, 256),
        "ML-DSA-44": (KeyFamily.ML_DSA, 44),
        "ML-DSA-65": (KeyFamily.ML_DSA, 65),
        "ML-DSA-87": (KeyFamily.ML_DSA, 87),
    }
    for algorithm, key in made.items():
        info = keys.check_key(key.public_key())
        assert info.name == algorithm.value
        assert (info.family, info.size) == families[algorithm.value]


def test_hash_belongs_to_the_key(made):
    expected = {
        KeyAlgorithm.RSA_2048: hashes.SHA256,
        KeyAlgorithm.RSA_3072: hashes.SHA256,
        KeyAlgorithm.RSA_4096: hashes.SHA256,
        KeyAlgorithm.ECDSA_P256: hashes.SHA256,
        KeyAlgorithm.ECDSA_P384: hashes.SHA384,
        KeyAlgorithm.ECDSA_P521: hashes.SHA512,
    }
    for algorithm, key in made.items():
        got = keys.signature_hash(key.public_key())
        if algorithm in expected:
            assert isinstance(got, expected[algorithm])
        else:
            assert got is None


@pytest.mark.spec("02/CERT-11")
def test_key_id_is_sha1_of_the_public_key_bits(made, tmp_path):
    for algorithm, key in made.items():
        if algorithm.name.startswith("ML_DSA"):
            continue
        (tmp_path / "k.pem").write_bytes(keys.private_key_pem(key))
        spki = subprocess.check_output(
            ["openssl", "pkey", "-in", tmp_path / "k.pem", "-pubout", "-outform", "DER"]
        )
        parsed = subprocess.run(
            ["openssl", "asn1parse", "-inform", "DER", "-strparse",
             _offset_of_bits(spki), "-noout", "-out", tmp_path / "bits"],
            input=spki, capture_output=True, check=False,
        )  # fmt: skip
        bits = (tmp_path / "bits").read_bytes()
        assert parsed.returncode in (0, 1)
        assert (
            keys.ca_key_id(key.public_key())
            == hashlib.sha1(bits, usedforsecurity=False).hexdigest()
        )
        assert keys.ski(key.public_key()).hex() == keys.ca_key_id(key.public_key())
        assert keys.spki_sha256(key.public_key()) == hashlib.sha256(spki).hexdigest()


def _offset_of_bits(spki: bytes) -> str:
    listing = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=spki, capture_output=True, check=True
    ).stdout.decode()
    return next(line for line in listing.splitlines() if "BIT STRING" in line).split(":")[0].strip()


@pytest.mark.parametrize("size", [1024])
def test_short_rsa_is_refused(size):
    with pytest.raises(WeakKey):
        keys.check_key(_rsa_public(secrets.randbits(size) | 1 | 3 << size - 2))


def test_long_rsa_is_refused():
    with pytest.raises(WeakKey, match="8192"):
        keys.check_key(_rsa_public((1 << 8200) + 1))


@pytest.mark.parametrize("exponent", [3, 5, 17, 65535, 65539 - 4])
def test_small_exponent_is_refused(made, exponent):
    modulus = made[KeyAlgorithm.RSA_2048].public_key().public_numbers().n
    with pytest.raises(WeakKey, match="exponent"):
        keys.check_key(_rsa_public(modulus, exponent))


def test_huge_exponent_is_refused(made):
    modulus = made[KeyAlgorithm.RSA_2048].public_key().public_numbers().n
    with pytest.raises(WeakKey, match="exponent"):
        keys.check_key(_rsa_public(modulus, (1 << 300) + 1))


def test_roca_fingerprint_is_refused():
    product = keys._ROCA_PRODUCT * 2
    power = pow(65537, secrets.randbits(200), product)
    while True:
        modulus = (secrets.randbits(2048) | 3 << 2046) // product * product + power
        if modulus.bit_length() == 2048 and math.gcd(modulus, keys._SMALL_PRODUCT) == 1:
            break
    with pytest.raises(WeakKey, match="ROCA"):
        keys.check_key(_rsa_public(modulus))


def test_close_factors_are_refused(made):
    p = made[KeyAlgorithm.RSA_2048].private_numbers().p
    other = keys._primes_below(752)
    q = p + 2
    while any(q % small == 0 for small in other):
        q += 2
    with pytest.raises(WeakKey, match="close"):
        keys.check_key(_rsa_public(p * q))


def test_small_factor_is_refused(made):
    p = made[KeyAlgorithm.RSA_4096].private_numbers().p
    with pytest.raises(WeakKey, match="small factor"):
        keys.check_key(_rsa_public(p * 751 * ((1 << 100) + 277)))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ],
    ids=["P-224", "secp256k1", "brainpool", "Ed448", "X25519", "DSA"],
)
def test_other_algorithms_are_refused_but_described(key):
    assert keys.describe_key(key.public_key()).name
    with pytest.raises(UnsupportedKey):
        keys.check_key(key.public_key())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(UnsupportedKey):
        keys.load_private_key_pem(pem)


def test_pem_round_trip(made):
    for key in made.values():
        pem = keys.private_key_pem(key)
        assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
        again = keys.load_private_key_pem(pem)
        assert keys.ca_key_id(again.public_key()) == keys.ca_key_id(key.public_key())


def test_encrypted_pem_needs_its_passphrase(made):
    key = made[KeyAlgorithm.ECDSA_P256]
    pem = keys.private_key_pem(key, password=b"correct")
    assert b"ENCRYPTED" in pem
    keys.load_private_key_pem(pem, password=b"correct")
    for password in (None, b"wrong"):
        with pytest.raises(WrongPassphrase):
            keys.load_private_key_pem(pem, password=password)
    with pytest.raises(WrongPassphrase):
        keys.load_private_key_pem(keys.private_key_pem(key), password=b"superfluous")


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA_2048, KeyAlgorithm.ECDSA_P384])
def test_traditional_pem_is_read(made, algorithm):
    pem = made[algorithm].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    again = keys.load_private_key_pem(pem)
    assert keys.ca_key_id(again.public_key()) == keys.ca_key_id(made[algorithm].public_key())


@given(st.binary(max_size=300))
def test_garbage_pem_never_escapes_the_error_tree(body):
    for data in (body, b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----"):
        with pytest.raises(PKIError):
            keys.load_private_key_pem(data)


def test_oversized_pem_is_refused():
    with pytest.raises(MalformedKey):
        keys.load_private_key_pem(b"A" * 100_000)


def test_error_text_holds_no_key_bytes(made):
    pem = keys.private_key_pem(made[KeyAlgorithm.ECDSA_P256], password=b"sesame-open")
    with pytest.raises(WrongPassphrase) as caught:
        keys.load_private_key_pem(pem, password=b"sesame-shut")
    assert "sesame" not in str(caught.value)


def _rsa_public(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return _Numbers(modulus, exponent)


class _Numbers(rsa.RSAPublicKey):
    """A public key as a token driver could hand it in; the library's loader refuses some."""

    def __init__(self, modulus: int, exponent: int) -> None:
        self._numbers = rsa.RSAPublicNumbers(exponent, modulus)

    @property
    def key_size(self) -> int:
        return self._numbers.n.bit_length()

    def public_numbers(self) -> rsa.RSAPublicNumbers:
        return self._numbers

    def encrypt(self, plaintext, padding):
        raise AssertionError

    def public_bytes(self, encoding, format):  # noqa: A002 - the library's name
        raise AssertionError

    def verify(self, signature, data, padding, algorithm):
        raise AssertionError

    def recover_data_from_signature(self, signature, padding, algorithm):
        raise AssertionError

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self
