"""Keys, CAs and OpenSSL for the tests of this floor."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certctl_core.pki import keys, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from tests.core.pki.support import CA, NOW


@pytest.fixture(scope="session")
def key_of():
    made: dict[KeyAlgorithm, SigningKey] = {}

    def make(algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> SigningKey:
        if algorithm not in made:
            made[algorithm] = keys.generate(algorithm)
        return made[algorithm]

    return make


@pytest.fixture(scope="session")
def ca_of():
    made: dict[KeyAlgorithm, CA] = {}

    def make(algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> CA:
        if algorithm not in made:
            key = keys.generate(algorithm)
            cert = pki_x509.build_root(
                f"Example {algorithm} Root",
                key,
                serial=serials.new_serial(),
                not_before=NOW - timedelta(hours=1),
                not_after=NOW + timedelta(days=3650),
            )
            made[algorithm] = CA(key=key, cert=cert)
        return made[algorithm]

    return make


class OpenSSL:
    """Runs OpenSSL in ``folder``; certificates and bytes given by name become files there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *args: str, check: bool = True, **files) -> str:
        for name, value in files.items():
            path = self.folder / name
            if isinstance(value, x509.Certificate):
                path.write_text(pki_x509.to_pem(value))
            elif isinstance(value, list):
                path.write_text("".join(pki_x509.to_pem(cert) for cert in value))
            elif isinstance(value, str):
                path.write_text(value)
            else:
                path.write_bytes(value)
        done = subprocess.run(
            ["openssl", *args], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"openssl {' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSSL:
    return OpenSSL(tmp_path)
