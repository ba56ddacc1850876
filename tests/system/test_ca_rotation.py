"""A new CA key under live traffic: staples go on, old and new chains verify (02 §14, acceptance 33)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.machine import eventually, free_port
from tests.system.installed import Served, run, served

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("server")]

_NGINX = """\
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log info;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {place}/leaf/fullchain.pem;
    ssl_certificate_key {place}/leaf/key.pem;
    ssl_stapling on;
    ssl_stapling_verify on;
    ssl_trusted_certificate {place}/old-root.pem;
    return 204;
  }}
}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A server whose certificates name its plain-HTTP listener."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    settings = {"PKI_HTTP_LISTEN": address, "PKI_BASE_URL": f"http://{address}"}
    with served(tmp_path / "data", **settings) as running:
        running.pki = f"http://{address}"
        yield running


@pytest.fixture
def nginx(
    server: Served, tmp_path: Path, tool: Callable[[str], str]
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts nginx with the certificate in ``leaf``; ends what was started before."""
    program, place, port = tool("nginx"), tmp_path, free_port()
    (place / "nginx.conf").write_text(_NGINX.format(place=place, port=port))
    (place / "port").write_text(str(port))
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        stop()
        running.append(
            subprocess.Popen(
                [program, "-c", str(place / "nginx.conf"), "-p", str(place)],
                stderr=subprocess.DEVNULL,
            )
        )
        return running[-1]

    def stop() -> None:
        for process in running:
            process.terminate()
            process.wait()
        running.clear()

    yield start
    stop()


def staple(place: Path) -> str:
    """What ``openssl s_client -status`` shows of the staple, trusting the old root only."""
    return run(
        "bash", "-c",
        f"openssl s_client -connect 127.0.0.1:{(place / 'port').read_text()} -status "
        f"-CAfile {place / 'old-root.pem'} </dev/null 2>&1",
        status=None,
    )  # fmt: skip


def is_good(text: str) -> bool:
    return "OCSP Response Status: successful" in text and "Cert Status: good" in text


@pytest.mark.spec("02/ROT-1", "02/ROT-3", "02/DR-29", "02/OPS-5")
def test_an_old_certificate_keeps_its_staple_and_a_new_one_its_chain(
    server: Served, nginx: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    old_root = tmp_path / "old-root.pem"
    old_root.write_bytes((server.directory / "ca.crt").read_bytes())
    server.certctl("issue", "localhost", "--out", str(tmp_path / "leaf"))
    nginx()
    eventually(lambda: is_good(staple(tmp_path)), what="a staple of the old CA")

    before = server.running.serial()
    server.certctl("ca", "rotate", "--yes")
    eventually(lambda: server.running.serial() != before, what="a certificate of the new CA")

    # A fresh nginx has no staple in memory: it fetches one that the old CA's responder signed.
    nginx()
    eventually(lambda: is_good(staple(tmp_path)), what="a staple after the rotation")
    assert "Verify return code: 0 (ok)" in staple(tmp_path)

    server.certctl("issue", "new.example.test", "--out", str(tmp_path / "new"))
    leaf, chain = tmp_path / "new" / "cert.pem", tmp_path / "new" / "chain.pem"
    roots = run("curl", "-sS", "--fail", f"{server.pki}/.well-known/pki/bundle/iss-local")
    new, old = x509.load_pem_x509_certificates(roots.encode())
    assert old == x509.load_pem_x509_certificate(old_root.read_bytes())
    assert new.subject.rfc4514_string() == "CN=certctl Local CA G2"
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(roots)
    for trusted in (bundle, old_root):
        assert "OK" in run("openssl", "verify", "-CAfile", trusted, "-untrusted", chain, leaf)
    assert (server.directory / "ca.crt").read_text() == roots
    listed = json.loads(server.certctl("ca", "list", "--json"))["data"]
    assert [key["state"] for key in listed] == ["current", "previous"]
    assert server.running.stop() == 0
