"""Configured TLS files and the listeners beside the main one (spec 08 TLS-3, TLS-4, TLS-7)."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
import trustme
from certctl_server.web import HAND_OVER_SECONDS

from tests.frontends.server.running import Running, started
from tests.machine import PATIENCE_SECONDS, eventually, free_port

pytestmark = pytest.mark.xdist_group("server")
_TOKEN = "metrics-token-of-a-test"


@dataclass(slots=True)
class Site:
    """A server behind every kind of listener, with TLS files of an operator."""

    server: Running
    authority: trustme.CA
    certificate: Path
    key: Path
    pki: int
    mtls: int
    metrics: int

    def write(self, pair: trustme.LeafCert) -> None:
        """Replace the operator's files."""
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        self.key.write_bytes(pair.private_key_pem.bytes())

    def issue(self) -> trustme.LeafCert:
        """A new pair for the server."""
        return self.authority.issue_cert("127.0.0.1", "localhost")


def _plain(port: int) -> http.client.HTTPConnection:
    """A connection without TLS."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    key = folder / "tls.key"
    key.touch(0o600)
    made = Site(
        server=None,  # type: ignore[arg-type] # started below
        authority=authority,
        certificate=folder / "tls.crt",
        key=key,
        pki=free_port(),
        mtls=free_port(),
        metrics=free_port(),
    )
    made.write(made.issue())
    settings = {
        "SERVER_TLS_CERT_PATH": str(made.certificate),
        "SERVER_TLS_KEY_PATH": str(made.key),
        "PKI_HTTP_LISTEN": f"127.0.0.1:{made.pki}",
        "MTLS_LISTEN": f"127.0.0.1:{made.mtls}",
        "METRICS_BIND": f"127.0.0.1:{made.metrics}",
        "METRICS_TOKEN": _TOKEN,
    }
    with started(folder / "data", ca=str(folder / "ca.crt"), **settings) as running:
        made.server = running
        yield made


class TestConfiguredPair:
    @pytest.mark.spec("08/TLS-3")
    def test_a_new_pair_is_served_and_open_connections_go_on(self, site: Site) -> None:
        before = site.server.serial()
        # One that still drains goes on with the pair it was started with.
        with site.server.replacing_workers(), closing(site.server.connect()) as kept:
            kept.request("GET", "/health")
            kept.getresponse().read()

            site.write(site.issue())
            site.server.hang_up()
            eventually(lambda: site.server.serial() != before, what="the new pair is served")

            # A worker answers what it has accepted; an idle connection it may close in between,
            # as any keep-alive server may.
            try:
                kept.request("GET", "/health")
                assert kept.getresponse().status == 200
            except (ConnectionError, ssl.SSLError, http.client.RemoteDisconnected):
                pass
        assert site.server.events("server.tls_pair_accepted")
        assert b"server.tls_reloaded" in self._audit(site)

    @pytest.mark.spec("08/TLS-3")
    def test_no_new_connection_fails_while_workers_are_replaced(self, site: Site) -> None:
        stop = threading.Event()
        failed: list[str] = []
        answered: list[int] = []

        def come_anew() -> None:
            while not stop.wait(0.1):  # fewer than the limit for an address
                begun = monotonic()
                try:
                    answered.append(site.server.get("/health")[0])
                except (ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
                    # A worker that goes gives everybody a second to ask for something. Who was
                    # held up for as long by a busy machine was not failed by the server.
                    if monotonic() - begun < HAND_OVER_SECONDS / 2:
                        failed.append(repr(error))
                except OSError as error:
                    failed.append(repr(error))

        threads = [threading.Thread(target=come_anew) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                with site.server.replacing_workers():
                    site.write(site.issue())
                    site.server.hang_up()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert set(answered) == {200}

    @pytest.mark.spec("08/TLS-3")
    def test_a_worker_that_dies_while_it_is_replaced_leaves_one_worker(self, site: Site) -> None:
        server = site.server
        (old,) = server.workers()
        accepted = len(server.events("server.tls_pair_accepted"))
        site.write(site.issue())
        server.hang_up()
        lookers: set[int] = set()  # they look at the pair, before anybody is replaced

        def coming() -> set[int]:
            unknown = set(server.children()) - set(server.at_work())
            if len(server.events("server.tls_pair_accepted")) == accepted:
                lookers.update(unknown)
            return unknown - lookers

        eventually(coming, what="a replacement")
        held = coming()
        for number in held:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP)
        os.kill(old, signal.SIGKILL)
        eventually(lambda: set(server.workers()) - {old}, what="another worker in its place")
        for number in held:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)

        def is_settled() -> bool:
            return len(server.workers()) == 1 and set(server.children()) == set(server.at_work())

        eventually(is_settled, what="one worker, and nobody on the way")
        assert server.is_ready()

    def _audit(self, site: Site) -> bytes:
        status, body = site.server.get("/api/v1/audit?page_size=100", key=site.server.key)
        assert status == 200
        return body

    @pytest.mark.spec("08/TLS-3", "02/TRUST-3")
    def test_a_bad_pair_is_refused_and_the_old_one_goes_on(self, site: Site) -> None:
        before, refused = site.server.serial(), site.server.events("server.tls_pair_refused")
        site.key.write_bytes(site.issue().private_key_pem.bytes())

        site.server.hang_up()
        eventually(
            lambda: len(site.server.events("server.tls_pair_refused")) > len(refused),
            what="the pair is refused",
        )

        assert site.server.serial() == before
        line = site.server.events("server.tls_pair_refused")[-1]
        assert str(site.key) in line["reason"]
        assert b"server.tls_reload_failed" in self._audit(site)
        # Even a worker that dies now comes back with the pair that was good.
        before_death = site.server.children()
        for number in before_death:
            with suppress(ProcessLookupError):  # who looked at the pair may have ended
                os.kill(number, 9)
        eventually(
            lambda: set(site.server.workers()) - set(before_death) and site.server.is_ready(),
            what="ready again",
        )
        assert site.server.serial() == before

        site.write(site.issue())

    def test_the_client_file_names_no_ca_of_ours(self, site: Site) -> None:
        assert "ca_path" not in (site.server.directory / "client.toml").read_text()


class TestPKIListener:
    @pytest.mark.spec("08/TLS-7", "02/PKI-1")
    def test_serves_the_public_paths_and_nothing_else(self, site: Site) -> None:
        def get(path: str) -> int:
            with closing(_plain(site.pki)) as plain:
                plain.request("GET", path)
                answer = plain.getresponse()
                answer.read()
                return answer.status

        eventually(lambda: get("/.well-known/pki/crl/iss-local") == 200, what="the CRL is there")
        assert get("/ready") == 404
        assert get("/api/v1/version") == 404
        assert get("/") == 404


class TestMutualTLSListener:
    def _get(
        self, site: Site, path: str, *, client: trustme.LeafCert | None = None
    ) -> tuple[int, str | None]:
        context = ssl.create_default_context(cafile=site.server.ca)
        if client is not None:
            client.configure_cert(context)
        with closing(
            http.client.HTTPSConnection(
                "127.0.0.1", site.mtls, context=context, timeout=PATIENCE_SECONDS
            )
        ) as connection:
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            version = connection.sock.version()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status, version

    @pytest.mark.spec("08/TLS-4", "08/TLS-7")
    def test_serves_machines_only(self, site: Site) -> None:
        assert self._get(site, "/.well-known/pki/ca/iss-local")[0] != 404
        assert self._get(site, "/api/v1/agents/ag-1/work")[0] == 401
        assert self._get(site, "/api/v1/certificates") == (404, "TLSv1.3")
        assert self._get(site, "/ui/")[0] == 404

    @pytest.mark.spec("08/TLS-4")
    def test_a_certificate_of_an_unknown_ca_ends_the_handshake(self, site: Site) -> None:
        stranger = trustme.CA().issue_cert("stranger.example.test")

        with pytest.raises(OSError, match=r"unknown ca|reset|EOF|closed|Broken pipe"):
            self._get(site, "/.well-known/pki/ca/iss-local", client=stranger)
        assert site.server.is_ready()


class TestMetricsListener:
    def test_asks_for_its_token(self, site: Site) -> None:
        def get(token: str) -> tuple[int, bytes]:
            with closing(_plain(site.metrics)) as it:
                it.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
                answer = it.getresponse()
                return answer.status, answer.read()

        assert get("wrong")[0] == 401
        status, body = get(_TOKEN)
        assert status == 200
        assert b"certctl_build_info{" in body


def test_behind_a_proxy_it_speaks_plain_http(tmp_path: Path) -> None:
    settings = {"SERVER_ENGINE": "waitress", "TRUSTED_PROXIES": "127.0.0.1"}
    with started(tmp_path / "data", **settings) as running:
        with closing(_plain(running.port)) as plain:
            plain.request("GET", "/ready", headers={"X-Forwarded-For": "192.0.2.9"})
            assert plain.getresponse().read() == b'{"status":"ready","db":"reachable"}'

        eventually(lambda: bool(running.events("http.request")), what="the request is logged")
        assert running.events("http.request")[0]["remote_addr"] == "192.0.2.9"
        assert not (running.directory / "server.pem").exists()
        assert running.stop() == 0
