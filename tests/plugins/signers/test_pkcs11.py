"""Keys in a PKCS#11 token, on a real SoftHSM 2 (spec 02 SIGN-1, SIGN-2, SIGN-8)."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from certctl_signers.pkcs11 import PKCS11
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from certctl_core.contracts.host.registry import missing_packages
from certctl_core.contracts.signers import (
    KeyAlgorithm,
    KeyNotFound,
    KeyRefInvalid,
    KeyRejectedBySigner,
    KeyUnsafe,
    SignerPINRefused,
    SignerUnavailable,
)
from certctl_core.pki.keys import ca_key_id, spki_der
from certctl_core.pki.pkcs11_uri import parse_pkcs11_uri
from certctl_core.pki.x509 import build_root
from certctl_core.testing.fakes import EPOCH
from certctl_core.testing.plugin_fakes import fake_context
from certctl_core.testing.signer import SignerContract
from tests.plugins.signers.token_support import sign, signer_of, verify
from tests.softhsm import PIN, SoftHSM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certctl_core.contracts.options import PluginConfig
    from certctl_core.contracts.signers import SignerProvider

pytestmark = [pytest.mark.spec("02/SIGN-8"), pytest.mark.usefixtures("softhsm")]


class TestContract(SignerContract):
    plugin = PKCS11

    @pytest.fixture
    def raw_config(self, softhsm):
        return softhsm.raw_config()

    @pytest.fixture
    def signer(self, config: PluginConfig) -> Iterator[SignerProvider]:
        signer = PKCS11(config, fake_context())
        signer.open()
        yield signer
        signer.close()


@pytest.fixture
def signer(softhsm: SoftHSM) -> Iterator[PKCS11]:
    made = signer_of(softhsm.raw_config())
    yield made
    made.close()


class TestGenerate:
    @pytest.mark.parametrize(
        "algorithm",
        [
            KeyAlgorithm.RSA_2048,
            KeyAlgorithm.RSA_3072,
            KeyAlgorithm.ECDSA_P256,
            KeyAlgorithm.ECDSA_P384,
            KeyAlgorithm.ECDSA_P521,
            KeyAlgorithm.ED25519,
        ],
    )
    def test_the_key_stays_in_the_token(
        self, softhsm: SoftHSM, signer: PKCS11, algorithm: KeyAlgorithm
    ) -> None:
        """pkcs11-tool sees it sensitive, never extractable, with the CA key id as CKA_ID."""
        made = signer.generate(algorithm, f"ca/kept/{algorithm.lower()}")
        uri = parse_pkcs11_uri(made.ref)
        assert uri.id.hex() == ca_key_id(made.key.public_key())
        assert (uri.token, uri.object) == (softhsm.label, f"ca/kept/{algorithm.lower()}")

        said = softhsm.tool("--list-objects", "--type", "privkey", "--id", uri.id.hex())

        assert "sensitive, always sensitive, never extractable, local" in said
        assert "Usage:      sign\n" in said

    def test_what_the_token_lacks_is_said(self, signer: PKCS11) -> None:
        for algorithm in (KeyAlgorithm.ML_DSA_44, KeyAlgorithm.ML_DSA_65, KeyAlgorithm.ML_DSA_87):
            with pytest.raises(KeyRejectedBySigner) as caught:
                signer.generate(algorithm, "ca/pq")
            assert algorithm.value in caught.value.detail
            assert "the token does not support this algorithm" in caught.value.detail
        assert not any(name.startswith("ML") for name in PKCS11.algorithms)

    def test_a_half_made_pair_is_removed(
        self, softhsm: SoftHSM, signer: PKCS11, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: object) -> bytes:
            raise ValueError("no id")

        monkeypatch.setattr("certctl_signers.pkcs11.provider._ca_key_id", fail)
        with pytest.raises(ValueError, match="no id"):
            signer.generate(KeyAlgorithm.ECDSA_P256, "ca/half-made")

        assert "half-made" not in softhsm.tool("--list-objects")


@pytest.mark.spec("02/SIGN-1", "02/SIGN-2")
class TestKeyObjects:
    @pytest.mark.parametrize(
        ("algorithm", "base"),
        [
            (KeyAlgorithm.RSA_2048, rsa.RSAPrivateKey),
            (KeyAlgorithm.ECDSA_P521, ec.EllipticCurvePrivateKey),
            (KeyAlgorithm.ED25519, ed25519.Ed25519PrivateKey),
        ],
    )
    def test_no_way_leads_to_the_key_bytes(
        self, signer: PKCS11, algorithm: KeyAlgorithm, base: type
    ) -> None:
        key: Any = signer.generate(algorithm, "ca/closed").key
        assert issubclass(type(key), base)
        assert copy.copy(key) is copy.deepcopy(key) is key
        with pytest.raises(KeyRejectedBySigner):
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(KeyRejectedBySigner):
            key.private_bytes_raw()
        if algorithm is not KeyAlgorithm.ED25519:
            with pytest.raises(KeyRejectedBySigner):
                key.private_numbers()
        with pytest.raises(TypeError):
            pickle.dumps(key)

    @pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
    def test_every_digest_of_ours(self, signer: PKCS11, digest: hashes.HashAlgorithm) -> None:
        """A digest longer than the curve is cut as openssl cuts it."""
        one = signer.generate(KeyAlgorithm.RSA_2048, "ca/digest").key
        assert isinstance(one, rsa.RSAPrivateKey)
        one.public_key().verify(
            one.sign(b"data", padding.PKCS1v15(), digest), b"data", padding.PKCS1v15(), digest
        )
        for algorithm in (KeyAlgorithm.ECDSA_P256, KeyAlgorithm.ECDSA_P521):
            two = signer.generate(algorithm, "ca/digest").key
            assert isinstance(two, ec.EllipticCurvePrivateKey)
            for _ in range(20):  # r and s of every length
                two.public_key().verify(two.sign(b"x", ec.ECDSA(digest)), b"x", ec.ECDSA(digest))

    def test_a_digest_made_elsewhere(self, signer: PKCS11) -> None:
        key = signer.generate(KeyAlgorithm.RSA_2048, "ca/prehashed").key
        assert isinstance(key, rsa.RSAPrivateKey)
        digest = hashes.Hash(hashes.SHA384())
        digest.update(b"data")
        made = key.sign(digest.finalize(), padding.PKCS1v15(), utils.Prehashed(hashes.SHA384()))
        key.public_key().verify(made, b"data", padding.PKCS1v15(), hashes.SHA384())

    def test_what_it_cannot_do_is_refused(self, signer: PKCS11) -> None:
        key = signer.generate(KeyAlgorithm.RSA_2048, "ca/limits").key
        assert isinstance(key, rsa.RSAPrivateKey)
        with pytest.raises(UnsupportedAlgorithm):
            key.sign(b"x", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        with pytest.raises(UnsupportedAlgorithm):
            key.sign(b"x", padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - refused
        with pytest.raises(KeyRejectedBySigner):
            key.decrypt(b"x" * 256, padding.PKCS1v15())


class TestReferences:
    def test_id_or_object_is_enough(self, softhsm: SoftHSM, signer: PKCS11) -> None:
        made = signer.generate(KeyAlgorithm.ECDSA_P256, "ca/found")
        uri = parse_pkcs11_uri(made.ref)
        ident = "".join(f"%{byte:02X}" for byte in uri.id)
        for ref in (
            f"pkcs11:id={ident}",
            "pkcs11:object=ca%2Ffound",
            f"pkcs11:object=ca/found;type=private;token={softhsm.label}",
            f"pkcs11:id={ident}?module-path={softhsm.module}",
            f"pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;id={ident}",
        ):
            found = signer.load(ref)
            assert spki_der(found.public_key()) == spki_der(made.key.public_key()), ref

    @pytest.mark.parametrize(
        "ref",
        [
            "",
            "ca/key.pem",
            "pkcs11:",
            "pkcs11:token=certctl-test",
            "pkcs11:object=x;object=y",
            "pkcs11:object=x;type=public",
            "pkcs11:object=%zz",
            "pkcs11:slot-id=1;object=x",
            "pkcs11:object=x?module-path=/tmp/evil.so",
            "pkcs11:object=x?module-name=evil",
            "pkcs11:object=x?pin-source=file:/etc/shadow",
            "pkcs11:object=x?pin-source=|/bin/sh",
        ],
    )
    def test_what_leads_elsewhere_is_refused(self, signer: PKCS11, ref: str) -> None:
        """Neither another library is loaded nor a foreign file read."""
        with pytest.raises(KeyRefInvalid):
            signer.load(ref)

    def test_a_pin_in_a_reference_is_refused_and_not_repeated(self, signer: PKCS11) -> None:
        for ref in (f"pkcs11:object=x?pin-value={PIN}", f"pkcs11:object=x?pin-value={PIN}\n"):
            with pytest.raises(KeyRefInvalid) as caught:
                signer.load(ref)
            assert PIN not in f"{caught.value}{caught.value.data}{caught.value.log}"

    def test_an_unknown_key_is_not_found(self, signer: PKCS11) -> None:
        with pytest.raises(KeyNotFound):
            signer.load("pkcs11:object=nobody")

    def test_two_keys_of_one_name_are_not_guessed_between(self, signer: PKCS11) -> None:
        for _ in range(2):
            signer.generate(KeyAlgorithm.ED25519, "ca/twins")
        with pytest.raises(KeyRejectedBySigner, match="several"):
            signer.load("pkcs11:object=ca/twins")

    def test_a_key_made_with_pkcs11_tool_is_taken(self, softhsm: SoftHSM, signer: PKCS11) -> None:
        softhsm.tool("--keypairgen", "--key-type", "EC:secp384r1", "--label", "made by hand",
                     "--id", "0a0b", "--usage-sign")  # fmt: skip
        key = signer.load("pkcs11:object=made%20by%20hand;id=%0a%0b")
        verify(key.public_key(), sign(key, b"data"), b"data")

    def test_a_weak_key_is_refused(self, softhsm: SoftHSM, signer: PKCS11) -> None:
        softhsm.tool("--keypairgen", "--key-type", "rsa:1024", "--label", "weak", "--id", "0c")
        with pytest.raises(KeyRejectedBySigner, match="weak"):
            signer.load("pkcs11:object=weak")

    def test_halves_that_do_not_belong_together_are_refused(
        self, softhsm: SoftHSM, signer: PKCS11, tmp_path: Path
    ) -> None:
        """The probe signs a test digest, so a wrong public half is found at load."""
        softhsm.tool("--keypairgen", "--key-type", "EC:secp256r1", "--label", "mixed", "--id", "0d")
        softhsm.tool("--delete-object", "--type", "pubkey", "--id", "0d")
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        path = tmp_path / "other.der"
        path.write_bytes(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        softhsm.tool("--write-object", str(path), "--type", "pubkey", "--id", "0d")
        with pytest.raises(KeyRejectedBySigner, match="does not verify"):
            signer.load("pkcs11:object=mixed")

    def test_a_key_without_its_public_half_is_refused(
        self, softhsm: SoftHSM, signer: PKCS11
    ) -> None:
        softhsm.tool("--keypairgen", "--key-type", "EC:secp256r1", "--label", "half", "--id", "0e")
        softhsm.tool("--delete-object", "--type", "pubkey", "--id", "0e")
        with pytest.raises(KeyRejectedBySigner, match="public key is not in the token"):
            signer.load("pkcs11:object=half")


class TestPIN:
    @pytest.fixture
    def own(self, softhsm: SoftHSM, request: pytest.FixtureRequest) -> str:
        """A token of this test alone."""
        label = f"pin-{abs(hash(request.node.nodeid)) % 10**8}"
        softhsm.add_token(label)
        return label

    @pytest.mark.spec("02/SIGN-9")
    def test_a_refused_pin_is_in_no_traceback(self, softhsm: SoftHSM, own: str) -> None:
        signer = signer_of(softhsm.raw_config(token=own, pin="31415926"))
        with pytest.raises(SignerPINRefused) as caught:
            signer.check()
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        text = "".join(told.format())
        assert "31415926" not in text
        assert "[redacted]" in text
        signer.close()

    def test_a_wrong_pin_is_tried_once(
        self, softhsm: SoftHSM, own: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A token locks itself after some attempts: load must not use them up."""
        signer = signer_of(softhsm.raw_config(token=own, pin="000000"))
        tried = []
        from certctl_signers.pkcs11 import token as token_module

        first = token_module.Token._log_in

        def log_in(self: Any, token: Any) -> Any:
            tried.append(self._refused is None)
            return first(self, token)

        monkeypatch.setattr(token_module.Token, "_log_in", log_in)
        for reason in ("it is wrong", "refused before", "refused before"):
            with pytest.raises(SignerPINRefused, match=reason) as caught:
                signer.generate(KeyAlgorithm.ED25519, "ca/x")
            assert "000000" not in f"{caught.value!r}{caught.value}{caught.value.log}"
        assert tried == [True, False, False]
        signer.close()

    def test_a_pin_file_is_read_at_each_login(
        self, softhsm: SoftHSM, own: str, tmp_path: Path
    ) -> None:
        path = softhsm.pin_file(tmp_path)
        path.write_text("000000\n")
        raw = softhsm.raw_config(token=own, pin=None, pin_file=str(path))
        signer = signer_of(raw)
        with pytest.raises(SignerPINRefused):
            signer.generate(KeyAlgorithm.ED25519, "ca/x")
        path.write_text(softhsm.pin)
        assert signer.generate(KeyAlgorithm.ED25519, "ca/x").ref
        signer.close()

    def test_a_pin_file_that_others_read_is_refused(
        self, softhsm: SoftHSM, own: str, tmp_path: Path
    ) -> None:
        path = softhsm.pin_file(tmp_path)
        path.chmod(0o644)
        signer = signer_of(softhsm.raw_config(token=own, pin=None, pin_file=str(path)))
        with pytest.raises(KeyUnsafe, match="0644"):
            signer.generate(KeyAlgorithm.ED25519, "ca/x")
        path.unlink()
        with pytest.raises(SignerUnavailable, match="cannot be read"):
            signer.generate(KeyAlgorithm.ED25519, "ca/x")
        signer.close()

    def test_a_reference_may_name_a_file_of_the_folder_only(
        self, softhsm: SoftHSM, own: str, tmp_path: Path
    ) -> None:
        (tmp_path / "pins").mkdir()
        path = softhsm.pin_file(tmp_path / "pins")
        outside = softhsm.pin_file(tmp_path)
        (tmp_path / "pins" / "link").symlink_to(outside)
        first = signer_of(softhsm.raw_config(token=own))
        made = first.generate(KeyAlgorithm.ED25519, "ca/x")
        signer = signer_of(
            softhsm.raw_config(token=own, pin=None, pin_folder=str(tmp_path / "pins"))
        )
        for form in (f"file:{path}", f"file://{path}"):
            key = signer.load(f"{made.ref}?pin-source={form}")
            verify(key.public_key(), sign(key, b"data"), b"data")
        for elsewhere in (outside, tmp_path / "pins" / ".." / "token.pin", tmp_path / "pins/link"):
            with pytest.raises(KeyRefInvalid, match="pin-source"):
                signer.load(f"{made.ref}?pin-source=file:{elsewhere}")
        first.close()
        signer.close()

    def test_neither_log_nor_error_holds_it(
        self, softhsm: SoftHSM, own: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("certctl_signers.pkcs11.token.PAUSES", (0.0, 0.0))
        written = io.StringIO()
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(written),
        )
        try:
            signer = signer_of(softhsm.raw_config(token=own))
            key = signer.generate(KeyAlgorithm.ED25519, "ca/x").key
            token = signer.token(parse_pkcs11_uri(f"pkcs11:token={own}"))
            token.library.restart(token._generation)
            token._generation -= 1
            token.library._generation -= 1  # handles of before seem to be good
            assert sign(key, b"x")
            softhsm.run("softhsm2-util", "--delete-token", "--token", own)
            token.library.restart(token._generation)
            with pytest.raises(SignerUnavailable) as caught:
                sign(key, b"x")
        finally:
            structlog.reset_defaults()
        assert "is not there" in caught.value.detail
        assert "token_lost" in written.getvalue()
        said = f"{written.getvalue()}{caught.value!r}{caught.value.data}{signer.config!r}{key!r}"
        assert PIN not in said
        signer.close()


@pytest.mark.spec("02/SIGN-2")
def test_openssl_verifies_what_it_signs(
    softhsm: SoftHSM, signer: PKCS11, tmp_path: Path, tool: Any
) -> None:
    openssl = tool("openssl")
    for algorithm in sorted(PKCS11.algorithms - {KeyAlgorithm.RSA_3072, KeyAlgorithm.RSA_4096}):
        key = signer.generate(algorithm, "ca/root").key
        root = build_root(
            "Token CA", key, serial=7, not_before=EPOCH, not_after=EPOCH.replace(year=2040)
        )
        path = tmp_path / "root.pem"
        path.write_bytes(root.public_bytes(Encoding.PEM))
        subprocess.run(
            [openssl, "verify", "-x509_strict", "-check_ss_sig", "-no_check_time",
             "-CAfile", str(path), str(path)],
            check=True, capture_output=True,
        )  # fmt: skip
        assert x509.load_pem_x509_certificate(path.read_bytes()) == root


def test_without_the_library_of_python_the_kind_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, package=None: None if name == "pkcs11" else real(name, package),
    )
    assert missing_packages(PKCS11) == "needs pkcs11: pip install 'certctl[pkcs11]'"


def test_the_module_is_imported_without_the_library_of_python() -> None:
    """What lists kinds must not need the extra."""
    code = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from certctl_signers.pkcs11 import certctl_signers\n"
        "print(certctl_signers()[0].kind)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "pkcs11\n"
