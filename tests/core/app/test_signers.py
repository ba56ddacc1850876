"""Where keys are kept, as the API shows it, and CAs made in a token (02 SIGN-8, DESIGN §7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.testing.factories import issue
from tests.softhsm import PIN

if TYPE_CHECKING:
    from certctl_core.testing.fakes import FakeClock
    from tests.softhsm import SoftHSM

pytestmark = [pytest.mark.spec("02/SIGN-8"), pytest.mark.parametrize("database_engine", ["sqlite"])]


@pytest.fixture
def opened(database_url: str, clock: FakeClock, tmp_path: Path) -> Any:
    def opened(**settings: Any) -> Core:
        return Core.open(
            Settings.for_directory(
                tmp_path / "data",
                database_url=database_url,
                config_encryption_keys=generate_keyring(),
                **settings,
            ),
            clock=clock,
        )

    return opened


def by_kind(core: Core) -> dict[str, Any]:
    return {row.kind: row for row in core.rooms.signers.describe().signers}


def test_by_default_files_keep_the_keys_of_cas(opened: Any) -> None:
    with opened() as core:
        found = core.rooms.signers.describe()
    kinds = {row.kind: row for row in found.signers}
    assert kinds["file"].is_ready
    assert kinds["file"].purposes == ["ca", "ocsp", "server"]
    assert kinds["memory"].is_ephemeral
    assert not kinds["pkcs11"].is_ready
    assert "CERTCTL_PKCS11_MODULE is not set" in kinds["pkcs11"].error
    assert {row.purpose: row.signer for row in found.purposes} == {
        "ca": "file",
        "ocsp": "file",
        "audit": "database",
        "server": "file",
    }


def test_the_first_start_makes_the_key_in_the_token(
    opened: Any, softhsm: SoftHSM, tmp_path: Path
) -> None:
    with opened(
        signer_ca="pkcs11",
        pkcs11_module=softhsm.module,
        pkcs11_token=softhsm.label,
        pkcs11_pin=softhsm.pin,
    ) as core:
        key = core.rooms.authorities.find_current("iss-local")
        assert key is not None
        assert key.signer == "pkcs11"
        assert key.key_ref is not None
        assert key.key_ref.startswith(f"pkcs11:token={softhsm.label};object=ca")
        issued = issue(core, "web.example.test")
        leaf = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
        leaf.verify_directly_issued_by(key.certificate)
        row = by_kind(core)["pkcs11"]
        assert (row.is_ready, row.error, row.purposes) == (True, "", ["ca"])
        assert "ML-DSA-65" not in row.algorithms
        assert PIN not in row.model_dump_json()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"PRIVATE KEY" in path.read_bytes()] == []


def test_a_token_that_is_not_there_is_said(opened: Any, softhsm: SoftHSM) -> None:
    with opened(
        pkcs11_module=softhsm.module, pkcs11_token="no such token", pkcs11_pin=softhsm.pin
    ) as core:
        row = by_kind(core)["pkcs11"]
    assert not row.is_ready
    assert row.available
    assert "no such token is not there" in row.error
