"""Trust bundles: a bad reload keeps the old pool, a good one swaps it whole (02 TRUST-1, TRUST-2)."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from certctl_core.app import Core
from certctl_core.enrollment.trust_bundles import TrustBundleError, TrustHolder, load_bundle
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.net import TrustError
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.testing.fakes import FakeClock

CLOCK = SystemClock()


def pem(*authorities: trustme.CA) -> str:
    return "".join(ca.cert_pem.bytes().decode() for ca in authorities)


@pytest.fixture(scope="module")
def cas() -> list[trustme.CA]:
    return [trustme.CA(organization_name=f"Example {number}") for number in range(3)]


@pytest.fixture
def file(tmp_path: Path, cas: list[trustme.CA]) -> Path:
    path = tmp_path / "trust.pem"
    path.write_text(pem(*cas[:2]))
    return path


def expired(tmp_path: Path) -> str:
    ca = trustme.CA()
    leaf = ca.issue_cert("old.example.test", not_after=datetime.now(UTC) - timedelta(days=1))
    return leaf.cert_chain_pems[0].bytes().decode()


@pytest.mark.spec("02/TRUST-1", "04/TB-5")
def test_certificates_are_taken_and_the_rest_is_skipped(
    tmp_path: Path, cas: list[trustme.CA]
) -> None:
    path = tmp_path / "trust.pem"
    key = cas[0].private_key_pem.bytes().decode()
    path.write_text(f"# a comment\n{pem(cas[0])}{key}{pem(cas[1])}{pem(cas[0])}")

    found = load_bundle("x", path, clock=CLOCK)

    assert len(found.anchors) == len(found.fingerprints) == 2
    assert "private key" in found.warnings[0]
    assert "PRIVATE" not in found.pem_at(CLOCK.now())


@pytest.mark.spec("02/TRUST-1", "04/TB-5")
@pytest.mark.parametrize(
    ("defect", "code"),
    [
        ("empty", "empty_bundle"),
        ("key_only", "empty_bundle"),
        ("half_written", "parse_error"),
        ("garbage", "parse_error"),
        ("expired", "expired_cert"),
        ("gone", "file_missing"),
        ("folder", "permission_denied"),
        ("large", "too_large"),
    ],
)
def test_a_bad_file_is_refused_and_the_old_pool_stays(
    file: Path, cas: list[trustme.CA], tmp_path: Path, defect: str, code: str
) -> None:
    holder = TrustHolder("x", file, clock=CLOCK)
    before = holder.get()
    good = pem(cas[2])
    texts = {
        "empty": "nothing here\n",
        "key_only": cas[0].private_key_pem.bytes().decode(),
        "half_written": good + good[: len(good) // 2],
        "garbage": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "expired": good + expired(tmp_path),
        "large": good + "#" * (1024 * 1024),
    }
    file.unlink()
    if defect == "folder":
        file.mkdir()
    elif defect in texts:
        file.write_text(texts[defect])

    with pytest.raises(TrustBundleError) as caught:
        holder.reload()

    assert caught.value.code == code
    assert str(file) in caught.value.detail
    assert holder.get() is before
    assert defect != "expired" or "expired on" in caught.value.detail


@pytest.mark.spec("02/TRUST-2", "04/TB-2", "04/TB-3")
def test_readers_see_one_whole_pool_or_the_other(file: Path, cas: list[trustme.CA]) -> None:
    holder = TrustHolder("x", file, clock=CLOCK)
    first, second = pem(*cas[:2]), pem(*cas)
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(holder.get().anchors))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    taken = holder.get()
    for number in range(40):
        replacement = file.with_suffix(".new")
        replacement.write_text(second if number % 2 else first)
        replacement.replace(file)
        holder.reload()
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {2, 3}
    assert len(taken.anchors) == 2


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def private_server(cas: list[trustme.CA]) -> Iterator[str]:
    """A TLS server with a certificate of the third CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cas[2].issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def trusting(
    database_url: str, tmp_path: Path, file: Path, private_server: str, clock: FakeClock
) -> Iterator[Core]:
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        outbound_ca_bundle=str(file),
        outbound_allow=private_server.removeprefix("https://").rstrip("/"),
    )
    with Core.open(settings, clock=clock) as core:
        yield core


@pytest.mark.spec("02/TRUST-2", "02/TRUST-5", "02/TRUST-6")
def test_outgoing_connections_follow_a_reload_at_once(
    trusting: Core, file: Path, cas: list[trustme.CA], private_server: str
) -> None:
    client = trusting.rooms._http()(private_server)
    with pytest.raises(TrustError):
        client.request("GET", private_server)

    file.write_text("broken")
    with pytest.raises(CertctlError) as caught:
        trusting.call("trust_bundles.reload", path={"name": "outbound"})
    assert caught.value.code == "empty_bundle"
    (shown,) = trusting.call("trust_bundles.show").data
    assert len(shown.anchors) == 2
    assert "holds no certificate" in shown.last_error

    file.write_text(pem(*cas))
    answer = trusting.call("trust_bundles.reload", path={"name": "outbound"})
    assert (answer.certs_loaded, len(answer.added), answer.removed) == (3, 1, [])
    assert client.request("GET", private_server).status == 204

    file.write_text(pem(cas[0]))
    trusting.reload()  # SIGHUP
    (shown,) = trusting.call("trust_bundles.show").data
    assert (len(shown.anchors), shown.last_error) == (1, None)
    with pytest.raises(TrustError):
        trusting.rooms._http()(private_server).request("GET", private_server)
    actions = [event.action for event in trusting.call("audit.list").data]
    assert actions.count("trust_bundle.reloaded") == 2
    assert actions.count("trust_bundle.reload_failed") == 1


@pytest.mark.spec("04/TB-6")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_expires_after_it_was_read_is_not_trusted_any_more(
    trusting: Core, file: Path, cas: list[trustme.CA], private_server: str, clock: FakeClock
) -> None:
    file.write_text(pem(*cas))
    trusting.call("trust_bundles.reload", path={"name": "outbound"})
    client = trusting.rooms._http()(private_server)
    assert client.request("GET", private_server).status == 204

    (shown,) = trusting.call("trust_bundles.show").data
    clock.set(max(anchor.not_after for anchor in shown.anchors) + timedelta(seconds=1))
    with pytest.raises(TrustError):
        client.request("GET", private_server)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_bad_file_refuses_the_start(database_url: str, tmp_path: Path) -> None:
    settings = Settings.for_directory(
        tmp_path / "data", database_url=database_url, outbound_ca_bundle=str(tmp_path / "none.pem")
    )
    with pytest.raises(TrustBundleError) as caught, Core.open(settings):
        pass
    assert caught.value.code == "file_missing"


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_an_unknown_bundle_is_not_found(core: Core) -> None:
    with pytest.raises(CertctlError) as caught:
        core.call("trust_bundles.reload", path={"name": "none"})
    assert caught.value.code == "trust_bundle_not_found"
    assert core.call("trust_bundles.show").data == []
