"""The first minute of an operator: serve, issue, verify, revoke, and OpenSSL agrees with each step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.machine import PATIENCE_SECONDS, eventually, free_port

_SCRIPT = "import sys; from certctl_cli.main import main; sys.exit(main())"


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CERTCTL_")}


def _certctl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=_clean(),
    )


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a server that ``certctl serve`` runs."""
    port, pki_port = free_port(), free_port()
    directory = tmp_path / "data"
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, "serve", "--data-dir", str(directory),
             "--listen", f"127.0.0.1:{port}"],
            env=_clean() | {
                "CERTCTL_PKI_HTTP_LISTEN": f"127.0.0.1:{pki_port}",
                "CERTCTL_PKI_BASE_URL": f"http://127.0.0.1:{pki_port}",
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return _certctl("status", "--data-dir", directory).returncode == 0

        eventually(is_ready, what="the server is ready")
        yield directory
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_first_minute(data: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    openssl, out = tool("openssl"), tmp_path / "web"

    def verify(*options: str | Path) -> str:
        command = [openssl, "verify", "-CAfile", data / "ca.crt", *options, out / "cert.pem"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    issued = _certctl(
        "--data-dir", data, "issue", "web.example.test", "--dns", "alt.example.test", "--out", out
    )
    assert issued.returncode == 0, issued.stderr
    assert ": OK" in verify()

    revoked = _certctl(
        "certificates", "revoke", "web.example.test", "--reason", "keyCompromise", "--yes",
        "--data-dir", data,
    )  # fmt: skip
    assert revoked.returncode == 0, revoked.stderr
    assert _certctl("crl", "regenerate", "--data-dir", data).returncode == 0
    text = subprocess.run(
        [openssl, "x509", "-in", out / "cert.pem", "-noout", "-ext", "crlDistributionPoints"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    url = text.partition("URI:")[2].split()[0]
    crl = tmp_path / "crl.der"
    crl.write_bytes(httpx.get(url, trust_env=False, timeout=PATIENCE_SECONDS).content)
    pem = tmp_path / "crl.pem"
    subprocess.run(
        [openssl, "crl", "-inform", "DER", "-in", crl, "-out", pem], check=True, capture_output=True
    )
    assert ": OK" not in verify("-crl_check", "-CRLfile", pem)
    assert _certctl("audit", "verify", "--local", "--data-dir", data).returncode == 0
