"""Java and NSS (Firefox) ask a running server, at the addresses in the certificates (acceptance 20)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from certctl_core.testing.factories import make_csr
from tests.frontends.server.running import Running, started
from tests.machine import free_port

pytestmark = [pytest.mark.timeout(240), pytest.mark.spec("02/OCSP-9", "02/RSP-1", "02/CERT-14")]
PROGRAM = Path(__file__).with_name("Verify.java")
Tool = Callable[[str], str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``ca.crt``, ``good.pem`` and ``bad.pem``, while their server answers."""
    folder = tmp_path_factory.mktemp("site")
    pki = free_port()
    settings = {
        "PKI_HTTP_LISTEN": f"127.0.0.1:{pki}",
        "PKI_BASE_URL": f"http://127.0.0.1:{pki}",
    }
    with started(folder / "data", **settings) as server:
        ids = {}
        for name in ("good", "bad"):
            csr = make_csr(f"{name}.example.test")
            made = post(server, "/certificates", {"csr_pem": csr})
            (folder / f"{name}.pem").write_text(made["issued"]["certificate_pem"])
            ids[name] = made["id"]
        post(server, f"/certificates/{ids['bad']}/revoke", {"reason": "superseded"})
        (folder / "ca.crt").write_bytes((server.directory / "ca.crt").read_bytes())
        yield folder


def post(server: Running, path: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    with closing(server.connect()) as connection:
        connection.request("POST", f"/api/v1{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    assert answer.status < 300, text
    return json.loads(text)


def run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("how", ["ocsp", "crl"])
@pytest.mark.parametrize(("name", "verdict"), [("good", "good"), ("bad", "revoked SUPERSEDED")])
def test_java(site: Path, tool: Tool, how: str, name: str, verdict: str) -> None:
    tool("javac")
    follow = "-Dcom.sun.security.enableCRLDP=true"
    leaf = site / f"{name}.pem"

    code, said = run(tool("java"), follow, PROGRAM, site / "ca.crt", leaf, how)

    assert (code, said.strip()) == (0, verdict)


@pytest.mark.parametrize(("name", "verdict"), [("good", "succeeded"), ("bad", "has been revoked")])
def test_nss(site: Path, tmp_path: Path, tool: Tool, name: str, verdict: str) -> None:
    certutil, database = tool("certutil"), f"sql:{tmp_path}"
    for command in (
        ("-N", "--empty-password"),
        ("-A", "-n", "ca", "-t", "C,C,C", "-i", site / "ca.crt"),
        ("-A", "-n", name, "-t", ",,", "-i", site / f"{name}.pem"),
    ):
        assert run(certutil, "-d", database, *command) == (0, "")

    _, said = run(tool("ocspclnt"), "-d", database, "-S", name)

    assert verdict in said
