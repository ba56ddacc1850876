"""A second linter before the CA key (02 CERT-20, acceptance 37)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import make_csr

pytest.importorskip("pkilint")
pytestmark = [
    pytest.mark.spec("02/CERT-20"),
    pytest.mark.parametrize("database_engine", ["sqlite"]),
]
PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "client": {"allowed_ekus": ["clientAuth"]},
    "mail": {"allowed_ekus": ["emailProtection"]},
    "code": {"allowed_ekus": ["codeSigning"]},
    "time_stamps": {"allowed_ekus": ["timeStamping"]},
    "short_lived": {"allow_short_lived": True, "max_ttl_seconds": 600},
    "must_staple": {"must_staple": True},
    "no_pointers": {"include_aia": False, "include_cdp": False},
    "every_key": {
        "allowed_key_algorithms": [
            {"algorithm": "RSA", "min_size": 2048},
            {"algorithm": "ECDSA", "min_size": 256},
            {"algorithm": "Ed25519"},
            {"algorithm": "ML-DSA", "min_size": 44},
        ]
    },
}


@pytest.fixture
def strict(database_url: str, tmp_path: Path) -> Iterator[Core]:
    """An installation whose CA asks pkilint."""
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        ca_lint="pkilint",
        pki_base_url="http://pki.example.test",
    )
    with Core.open(settings) as core:
        yield core


@pytest.mark.parametrize("name", PROFILES)
def test_every_kind_of_profile_passes(strict: Core, name: str) -> None:
    profile = strict.call("profiles.create", body={"name": name, **PROFILES[name]})
    names = ("a@example.test",) if name == "mail" else ("www.example.test", "192.0.2.1")
    algorithms = [KeyAlgorithm.ECDSA_P256]
    if name == "every_key":
        algorithms = [
            KeyAlgorithm.RSA_2048, KeyAlgorithm.ECDSA_P384, KeyAlgorithm.ED25519,
            KeyAlgorithm.ML_DSA_65,
        ]  # fmt: skip
    for algorithm in algorithms:
        key = generate(algorithm)
        issued = strict.issue(make_csr(*names, key=key), certificate_profile_id=profile.id)
        assert issued.certificate.status == "Active"


def test_what_it_objects_to_is_not_signed(strict: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    from certctl_core.kernel.errors import CertctlError
    from certctl_core.lifecycle.authorities import second_lint
    from certctl_core.pki import lint

    # Our own linter sees nothing; the draft that pkilint gets ends before it begins.
    monkeypatch.setattr(lint, "require_clean", lambda *_args, **_members: ())
    honest = second_lint.pkilint_errors

    def spoiled(draft: x509.Certificate) -> list[str]:
        der = draft.public_bytes(Encoding.DER)
        begins, ends = (
            moment.strftime("%y%m%d%H%M%SZ").encode()
            for moment in (draft.not_valid_before_utc, draft.not_valid_after_utc)
        )
        swapped = der.replace(begins + b"\x17\x0d" + ends, ends + b"\x17\x0d" + begins)
        assert swapped != der
        return honest(x509.load_der_x509_certificate(swapped))

    issuer = strict.rooms.issuers.instance("iss-local")
    monkeypatch.setattr(type(issuer.inner), "linters", (spoiled,))
    with pytest.raises(CertctlError) as caught:
        strict.issue(make_csr("www.example.test"))
    assert caught.value.code == "lint_refused"
    assert strict.call("certificates.list", query={"status": "Active"}).total == 0
