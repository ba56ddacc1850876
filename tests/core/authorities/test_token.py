"""An operator's CA whose key is in a token already (02 SIGN-8, CA-4, ROT-2, ROT-8)."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from certctl_signers.pkcs11 import PKCS11
from cryptography import x509

from certctl_core.contracts.options import ConfigInvalid, validate_config
from certctl_core.contracts.signers import KeyRejectedBySigner
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.observability import REGISTRY
from certctl_core.lifecycle.authorities import (
    AuthorityUnavailable,
    CAKeyState,
    CAMaterialError,
    CAOrigin,
    FormerCA,
    LocalConfig,
    NewCA,
)
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.x509 import build_root, build_sub_ca, subject_name, to_pem
from certctl_core.testing.fakes import EPOCH
from tests.core.authorities.conftest import context
from tests.core.authorities.orders import request
from tests.softhsm import PIN

if TYPE_CHECKING:
    from certctl_core.contracts.signers import GeneratedKey
    from tests.core.authorities.conftest import Room
    from tests.softhsm import SoftHSM

pytestmark = [
    pytest.mark.spec("02/SIGN-8"),
    pytest.mark.parametrize("signer_kind", ["pkcs11"]),
    pytest.mark.parametrize("database_engine", ["sqlite"]),
]

DAY = timedelta(days=1)


class Operator:
    """A root elsewhere that certifies keys of the token."""

    def __init__(self, room: Room, folder: Path) -> None:
        self.room = room
        self.folder = folder
        self.root_key = generate(KeyAlgorithm.ECDSA_P384)
        self.root = build_root(
            "Offline Root", self.root_key, serial=1, not_before=EPOCH - DAY,
            not_after=EPOCH + 900 * DAY,
        )  # fmt: skip

    def key(self, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> GeneratedKey:
        return self.room.signers["pkcs11"].generate(algorithm, "ca/operator")

    def certify(self, key: Any, *, name: str = "ca.crt", days: int = 300) -> Path:
        certificate = build_sub_ca(
            public_key=key.public_key(), subject=subject_name("Issuing CA"), issuer=self.root,
            key=self.root_key, serial=x509.random_serial_number(), not_before=EPOCH - DAY,
            not_after=EPOCH + days * DAY,
        )  # fmt: skip
        path = self.folder / name
        path.write_text(to_pem(certificate) + to_pem(self.root))
        return path


@pytest.fixture
def operator(room: Room, tmp_path: Path) -> Operator:
    return Operator(room, tmp_path)


def test_a_sub_ca_of_the_settings_signs_in_the_token(
    room: Room, operator: Operator, softhsm: SoftHSM, openssl: str, tmp_path: Path
) -> None:
    """``CERTCTL_CA_KEY_PATH`` is a URI with the library; no key file is anywhere."""
    made = operator.key()
    own = room.restart(
        ca_cert_path=operator.certify(made.key),
        ca_key_path=f"{made.ref}?module-path={softhsm.module}",
    )
    key = own.authorities.boot()
    issued = own.issuer().submit(request())

    assert (key.signer, key.key_ref, key.origin) == ("pkcs11", made.ref, CAOrigin.FILE)
    (tmp_path / "chain.pem").write_text("".join(issued.chain))
    (tmp_path / "root.pem").write_text(to_pem(operator.root))
    (tmp_path / "leaf.pem").write_text(issued.leaf)
    subprocess.run(
        [openssl, "verify", "-x509_strict", "-attime", str(int(EPOCH.timestamp())),
         "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "chain.pem",
         tmp_path / "leaf.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert not [path for path in tmp_path.rglob("*") if b"PRIVATE" in _content(path)]


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@pytest.mark.spec("02/ROT-8")
def test_a_new_certificate_for_the_same_key_is_no_rotation(room: Room, operator: Operator) -> None:
    made = operator.key()
    path = operator.certify(made.key, days=30)
    own = room.restart(ca_cert_path=path, ca_key_path=made.ref)
    first = own.authorities.boot()
    operator.certify(made.key, days=600)
    own.authorities.reload()
    second = own.authorities.signing_key("iss-local")

    assert second.ca_key_id == first.ca_key_id
    assert second.not_after - first.not_after == 570 * DAY
    assert len(own.authorities.authority_keys("iss-local")) == 1
    assert room.tags() == ["ca_key.loaded", "ca_key.recertified"]


@pytest.mark.spec("02/ROT-2")
def test_a_former_ca_in_the_token_goes_on_with_crl_and_ocsp(
    room: Room, operator: Operator, softhsm: SoftHSM
) -> None:
    old, new = operator.key(), operator.key()
    own = room.restart(
        ca_cert_path=operator.certify(new.key),
        ca_key_path=new.ref,
        ca_previous=(
            FormerCA(
                cert_path=operator.certify(old.key, name="old.crt"),
                key_ref=f"{old.ref}?module-path={softhsm.module}",
            ),
        ),
    )
    current = own.authorities.boot()
    keys = {key.state: key for key in own.authorities.authority_keys("iss-local")}
    assert keys[CAKeyState.CURRENT].ca_key_id == current.ca_key_id
    assert keys[CAKeyState.PREVIOUS].private_key is not None
    assert keys[CAKeyState.PREVIOUS].key_ref == old.ref


@pytest.mark.spec("02/CA-4")
@pytest.mark.parametrize(
    ("ref", "code", "said"),
    [
        ("pkcs11:object=nobody", "ca_file_unreadable", "no such key"),
        ("pkcs11:token=elsewhere;object=x", "ca_key_unavailable", "is not there"),
        ("pkcs11:object=x;object=y", "ca_key_malformed", "twice"),
    ],
)
def test_a_key_that_cannot_be_had_is_named(
    room: Room, operator: Operator, ref: str, code: str, said: str
) -> None:
    path = operator.certify(operator.key().key)
    own = room.restart(ca_cert_path=path, ca_key_path=ref)
    with pytest.raises(CAMaterialError, match=said) as caught:
        own.authorities.boot()
    assert caught.value.code == code
    assert caught.value.data["path"] == ref


def test_a_pin_in_a_reference_is_never_repeated(room: Room) -> None:
    """As somebody may write it who makes a CA of a tree from a key of the token."""
    with pytest.raises(CAMaterialError, match="holds a PIN") as caught:
        room.authorities.members.load("pkcs11", f"pkcs11:object=x?pin-value={PIN}")
    assert PIN not in f"{caught.value}{caught.value.data}{caught.value.log}"


@pytest.mark.spec("02/CA-4")
def test_a_wrong_pin_is_said_without_the_pin(
    room: Room, operator: Operator, softhsm: SoftHSM
) -> None:
    softhsm.add_token("guarded")
    raw = softhsm.raw_config(token="guarded", pin="000000")
    signer = PKCS11(validate_config(PKCS11.Config, raw), context("pkcs11", room.clock))
    room.signers["pkcs11"].close()
    room.signers["pkcs11"] = signer
    path = operator.certify(generate(KeyAlgorithm.ECDSA_P256))
    own = room.restart(ca_cert_path=path, ca_key_path="pkcs11:token=guarded;object=ca")
    with pytest.raises(CAMaterialError) as caught:
        own.authorities.boot()
    assert "The token 'guarded' refuses the PIN: it is wrong" in caught.value.detail
    assert "000000" not in caught.value.detail
    signer.close()


@pytest.mark.spec("02/CA-4")
def test_the_key_of_another_certificate_is_refused(room: Room, operator: Operator) -> None:
    path = operator.certify(operator.key().key)
    own = room.restart(ca_cert_path=path, ca_key_path=operator.key().ref)
    with pytest.raises(CAMaterialError) as caught:
        own.authorities.boot()
    assert caught.value.code == "ca_key_mismatch"


class TestIssuerConfiguration:
    def test_a_certificate_file_and_a_key_of_the_token(
        self, room: Room, operator: Operator
    ) -> None:
        made = operator.key(KeyAlgorithm.RSA_2048)
        config = {"ca_cert_path": str(operator.certify(made.key)), "ca_key_ref": made.ref}
        issuer = room.issuer("iss-token", **config)
        leaf = x509.load_pem_x509_certificate(issuer.submit(request()).leaf.encode())
        assert leaf.issuer.rfc4514_string() == "CN=Issuing CA"
        assert room.authorities.preflight("iss-token", LocalConfig(**config)) == ()  # type: ignore[arg-type]

    def test_a_key_that_is_there_gets_a_certificate_here(
        self, room: Room, operator: Operator
    ) -> None:
        """What a key ceremony made becomes a self-signed CA, the same after a restart."""
        made = operator.key(KeyAlgorithm.ECDSA_P384)
        config = LocalConfig(ca_key_ref=made.ref, ca_common_name="Ceremony CA")
        key = room.authorities.ensure("iss-ceremony", config)
        assert key.certificate.public_key() == made.key.public_key()
        assert (key.origin, key.key_ref) == (CAOrigin.GENERATED, made.ref)
        again = room.restart().authorities.ensure("iss-ceremony", config)
        assert again.certificate == key.certificate

    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            ({"ca_key_ref": "pkcs11:object=x", "ca_key_path": "/k", "ca_cert_path": "/c"}, "inste"),
            ({"ca_key_ref": "pkcs11:object=x", "ephemeral": True}, "instead"),
            ({"ca_key_ref": "pkcs11:object=x", "signer": "file"}, "different signers"),
            ({"ca_key_ref": f"pkcs11:object=x?pin-value={PIN}"}, "holds a PIN"),
            ({"ca_key_ref": "/etc/certctl/ca.key"}, ""),
            ({"ca_cert_path": "/c"}, "belong together"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(
        self, raw: dict[str, object], said: str, signer_kind: str, database_engine: str
    ) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            validate_config(LocalConfig, raw)
        text = f"{caught.value} {caught.value.fields}"
        assert said in text
        assert PIN not in text


def count(result: str) -> float:
    metric = REGISTRY.get("certctl_signer_operations_total")
    assert metric is not None
    return metric.value("pkcs11", result)


@pytest.mark.spec("02/OPS-1")
def test_what_the_signer_does_is_counted(room: Room) -> None:
    issuer = room.issuer()
    issuer.submit(request())
    before, failures = count("success"), count("failure")
    for _ in range(3):
        issuer.submit(request())
    assert count("success") == before + 3
    assert count("failure") == failures
    with pytest.raises(CAMaterialError):
        room.authorities.ensure("iss-x", LocalConfig(ca_key_ref="pkcs11:object=nobody"))
    assert count("failure") == failures + 1


@pytest.mark.spec("02/SIGN-1")
def test_no_way_leads_from_a_ca_key_to_its_bytes(room: Room) -> None:
    key: Any = room.authorities.boot().key
    assert room.settings.signer in repr(key)
    for name in ("private_bytes", "private_bytes_raw", "private_numbers"):
        with pytest.raises(KeyRejectedBySigner):
            getattr(key, name)()


def test_a_rotation_moves_a_ca_from_a_file_into_the_token(room: Room) -> None:
    """A CA that is there stays where it is; the next key is made by the signer of the settings."""
    first = replace(room, settings=replace(room.settings, signer="file")).authorities.boot()
    room.authorities.ensure("iss-local", LocalConfig())
    assert room.authorities.signing_key("iss-local").signer == first.signer == "file"

    room.clock.advance(timedelta(days=1))
    rotate(room, "iss-local", LocalConfig())
    second = room.authorities.signing_key("iss-local")
    assert second.signer == "pkcs11"
    assert room.authorities.authority_key(first.ca_key_id).private_key is not None
    assert room.issuer().submit(request()).leaf


def test_a_rotation_leaves_the_key_that_was_named(room: Room, operator: Operator) -> None:
    """After a key ceremony's key comes one that is made in the same token."""
    config = LocalConfig(ca_key_ref=operator.key().ref)
    first = room.authorities.ensure("iss-ceremony", config)
    room.clock.advance(timedelta(days=1))
    rotate(room, "iss-ceremony", config)
    second = room.authorities.ensure("iss-ceremony", config)
    assert second.ca_key_id != first.ca_key_id
    assert (second.signer, second.state) == ("pkcs11", CAKeyState.CURRENT)


def rotate(room: Room, issuer_id: str, config: LocalConfig) -> None:
    room.authorities.rotation.rotate(
        issuer_id, config, NewCA(), actor=system_actor("test"), request_id=""
    )
    room.authorities.look_again()


def test_a_key_that_comes_back_is_used_without_a_restart(
    room: Room, softhsm: SoftHSM, tmp_path: Path
) -> None:
    """The token is away when a process looks for its keys; later it is there again."""
    made = room.authorities.boot()
    hidden = tmp_path / "hidden"
    tokens = softhsm.directory / "tokens"
    late = room.restart()
    try:
        tokens.rename(hidden)
        tokens.mkdir()
        restart_library(room)
        with pytest.raises(AuthorityUnavailable):
            late.authorities.signing_key("iss-local")
        with pytest.raises(AuthorityUnavailable):
            late.authorities.signing_key("iss-local")
    finally:
        tokens.rmdir()
        hidden.rename(tokens)
    restart_library(room)
    room.clock.advance(timedelta(seconds=10))
    assert late.authorities.signing_key("iss-local").ca_key_id == made.ca_key_id
    assert late.issuer().submit(request()).leaf


def restart_library(room: Room) -> None:
    signer = room.signers["pkcs11"]
    assert isinstance(signer, PKCS11)
    for token in signer._tokens.values():
        token.library.restart(token._generation)
