"""A token that goes away and comes back, in the middle of everything (spec 02 SIGN-8)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from certctl_signers.pkcs11 import PKCS11

from certctl_core.contracts.signers import KeyAlgorithm, SignerUnavailable
from certctl_core.pki.pkcs11_uri import parse_pkcs11_uri
from tests.machine import PATIENCE_SECONDS
from tests.plugins.signers.token_support import sign, signer_of, verify
from tests.softhsm import SoftHSM, p11_kit_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.spec("02/SIGN-8"), pytest.mark.usefixtures("softhsm")]


@pytest.fixture
def signer(softhsm: SoftHSM) -> Iterator[PKCS11]:
    made = signer_of(softhsm.raw_config())
    yield made
    made.close()


class TestLosses:
    def test_it_logs_in_again_after_finalize_and_initialize(
        self, softhsm: SoftHSM, signer: PKCS11
    ) -> None:
        """Sessions and handles of before are void; the next signature makes new ones."""
        key = signer.generate(KeyAlgorithm.ECDSA_P256, "ca/again").key
        token = signer.token(parse_pkcs11_uri(f"pkcs11:token={softhsm.label}"))
        for _ in range(3):
            token.library.restart(token._generation)
            verify(key.public_key(), sign(key, b"data"), b"data")

    def test_it_logs_in_again_after_somebody_logged_it_out(
        self, softhsm: SoftHSM, signer: PKCS11
    ) -> None:
        """Closed sessions, and a login that is gone, as after an operator's reset."""
        import pkcs11

        key = signer.generate(KeyAlgorithm.RSA_2048, "ca/logged-out").key
        token = signer.token(parse_pkcs11_uri(f"pkcs11:token={softhsm.label}"))
        assert token._login is not None
        token._login.close()  # logs the process out
        verify(key.public_key(), sign(key, b"data"), b"data")
        for opened in token._idle:
            opened.session.close()
        with pytest.raises(pkcs11.PKCS11Error):
            token._idle[0].keys[next(iter(token._idle[0].keys))].sign(b"x")
        verify(key.public_key(), sign(key, b"data"), b"data")

    def test_restarts_under_load_fail_no_signature(self, softhsm: SoftHSM, signer: PKCS11) -> None:
        keys = [
            signer.generate(algorithm, "ca/load").key
            for algorithm in (KeyAlgorithm.ECDSA_P256, KeyAlgorithm.ED25519)
        ]
        token = signer.token(parse_pkcs11_uri(f"pkcs11:token={softhsm.label}"))
        stop = threading.Event()

        enough = threading.Event()

        def restart() -> None:
            count = 0
            while not stop.wait(0.01):
                token.library.restart(token._generation)
                count += 1
                if count > 3:
                    enough.set()

        def work(number: int) -> None:
            key = keys[number % 2]
            data = str(number).encode()
            verify(key.public_key(), sign(key, data), data)

        with ThreadPoolExecutor(17) as pool:
            restarts = pool.submit(restart)
            try:
                done = list(pool.map(work, range(600)))
                while not (enough.is_set() or restarts.done()):  # a machine may be quick
                    done += pool.map(work, range(100))
            finally:
                stop.set()
            restarts.result()
        assert enough.is_set()
        assert len(done) >= 600

    def test_a_token_that_is_killed_and_started_again_is_waited_for(
        self, softhsm: SoftHSM, tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The token in a process of its own, killed with all its connections in mid-load."""
        tool("p11-kit")
        client = p11_kit_client()
        if client is None:
            pytest.skip("this test needs p11-kit-modules")
        with softhsm.served(tmp_path / "token.sock") as remote:
            for name, value in remote.environment.items():
                monkeypatch.setenv(name, value)
            from certctl_signers.pkcs11.token import PAUSES  # where its library is installed

            signer = signer_of(softhsm.raw_config(module=client))
            made = signer.generate(KeyAlgorithm.ECDSA_P256, "ca/remote")
            half_way, killed = threading.Event(), threading.Event()

            def work(number: int) -> None:
                if number == 100:
                    half_way.set()
                data = str(number).encode()
                verify(made.key.public_key(), sign(made.key, data), data)

            def kill() -> None:
                half_way.wait(PATIENCE_SECONDS)
                remote.kill()
                killed.set()
                remote.start()

            assert sum(PAUSES) >= 3  # what is promised, of a token that starts again in time
            with monkeypatch.context() as patient, ThreadPoolExecutor(9) as pool:
                # On a busy machine this one may not.
                patient.setattr("certctl_signers.pkcs11.token.PAUSES", (*PAUSES, *[1.6] * 20))
                killing = pool.submit(kill)
                done = list(pool.map(work, range(400)))
                killing.result()
            assert killed.is_set()
            assert len(done) == 400

            remote.kill()
            with pytest.raises(SignerUnavailable) as caught:
                sign(made.key, b"x")
            assert caught.value.retryable
            monkeypatch.setattr("certctl_signers.pkcs11.token.PAUSES", (0.0, 600.0))
            with pytest.raises(SignerUnavailable):
                sign(made.key, b"x")  # whoever comes later does not wait again
            remote.start()
            verify(made.key.public_key(), sign(made.key, b"x"), b"x")
            signer.close()

    def test_a_child_process_opens_everything_anew(self, softhsm: SoftHSM, tmp_path: Path) -> None:
        """Servers fork: the child must not go on with the parent's sessions."""
        script = tmp_path / "forks.py"
        script.write_text(
            "import json, os, sys\n"
            "from certctl_signers.pkcs11 import PKCS11\n"
            "from certctl_core.contracts.signers import KeyAlgorithm\n"
            "from certctl_core.contracts.options import validate_config\n"
            "from certctl_core.testing.plugin_fakes import fake_context\n"
            "config = validate_config(PKCS11.Config, json.loads(sys.argv[1]))\n"
            "signer = PKCS11(config, fake_context())\n"
            "key = signer.generate(KeyAlgorithm.ED25519, 'ca/fork').key\n"
            "children = []\n"
            "for _ in range(3):\n"
            "    child = os.fork()\n"
            "    if not child:\n"
            "        for _ in range(20):\n"
            "            key.public_key().verify(key.sign(b'x'), b'x')\n"
            "        os._exit(0)\n"
            "    children.append(child)\n"
            "key.public_key().verify(key.sign(b'x'), b'x')\n"
            "codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]\n"
            "key.public_key().verify(key.sign(b'x'), b'x')\n"
            "signer.close()\n"
            "sys.exit(max(map(abs, codes)))\n"
        )
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(softhsm.raw_config())],
            env=softhsm.environment, capture_output=True, text=True, timeout=50,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_closed_signer_signs_no_more(self, softhsm: SoftHSM) -> None:
        signer = signer_of(softhsm.raw_config())
        key = signer.generate(KeyAlgorithm.ED25519, "ca/closed").key
        signer.close()
        with pytest.raises(SignerUnavailable):
            sign(key, b"x")
        other = signer_of(softhsm.raw_config())
        assert other.generate(KeyAlgorithm.ED25519, "ca/other").ref
        other.close()

    def test_a_token_made_after_the_start_is_found(self, softhsm: SoftHSM, signer: PKCS11) -> None:
        signer.generate(KeyAlgorithm.ED25519, "ca/before")
        softhsm.add_token("later")
        late = signer_of(softhsm.raw_config(token="later"))
        assert late.generate(KeyAlgorithm.ED25519, "ca/late").ref
        late.close()

    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            ({"module": "/no/such/library.so"}, "does not start"),
            ({"token": "no such token"}, "is not there"),
        ],
    )
    def test_what_is_not_there_is_named(
        self, softhsm: SoftHSM, raw: dict[str, str], said: str
    ) -> None:
        signer = signer_of(softhsm.raw_config(**raw))
        with pytest.raises(SignerUnavailable, match=said):
            signer.load("pkcs11:object=x")
        signer.close()


def test_more_threads_than_sessions_wait_for_each_other(softhsm: SoftHSM) -> None:
    signer = signer_of(softhsm.raw_config(sessions=2))
    key = signer.generate(KeyAlgorithm.ED25519, "ca/queue").key
    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(lambda number: sign(key, bytes([number])), range(100)))) == 100
    token = signer.token(parse_pkcs11_uri(f"pkcs11:token={softhsm.label}"))
    assert 1 <= len(token._idle) <= 2
    signer.close()
