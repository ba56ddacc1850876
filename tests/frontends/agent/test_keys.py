"""Private keys on the agent's host: where they lie, when they go (07 §5)."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certctl_agent.errors import KeyDirectoryRefused, KeyUnsupported
from certctl_agent.keys import KeyStore, Wanted
from certctl_agent.requests import make_request

from certctl_core.deploy import IdRefused, KeyMissing
from certctl_core.pki.keys import KeyAlgorithm, generate, load_private_key_pem, spki_sha256
from certctl_core.pki.names import GeneralName, NameType
from certctl_core.pki.x509 import parse_csr
from certctl_core.testing.fakes import FakeClock

NAMES = [
    GeneralName(type=NameType.DNS, value="web.example.test"),
    GeneralName(type=NameType.IP, value="192.0.2.1"),
    GeneralName(type=NameType.EMAIL, value="admin@example.test"),
    GeneralName(type=NameType.URI, value="spiffe://example.test/web"),
]


def _wanted(algorithm: str = "ECDSA-P256", *, reuse_key: bool = False) -> Wanted:
    return Wanted(
        algorithm=algorithm, names=NAMES, common_name="web.example.test", reuse_key=reuse_key
    )


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> KeyStore:
    return KeyStore(tmp_path / "keys", clock=clock)


def _promoted(store: KeyStore, clock: FakeClock, job_id: str) -> str:
    pending = store.request("mc-1", job_id, _wanted())
    clock.advance(timedelta(days=1))
    store.promote("mc-1", pending.spki)
    return pending.spki


@pytest.mark.spec("07/KEY-05", "07/KEY-06")
def test_a_key_is_private_and_named_by_its_public_part(store: KeyStore, tmp_path: Path) -> None:
    pending = store.request("mc-1", "job-1", _wanted())

    path = tmp_path / "keys" / "mc-1" / f"{pending.spki}.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    key = load_private_key_pem(store.load("mc-1", pending.spki))
    assert spki_sha256(key.public_key()) == pending.spki == parse_csr(pending.csr_pem).spki_sha256


def test_a_job_gets_the_same_request_again(store: KeyStore) -> None:
    assert store.request("mc-1", "job-1", _wanted()) == store.request("mc-1", "job-1", _wanted())
    assert store.request("mc-1", "job-1", _wanted()) != store.request("mc-1", "job-2", _wanted())


@pytest.mark.spec("07/KEY-03")
@pytest.mark.parametrize(
    "algorithm", ["ECDSA-P256", "ECDSA-P384", "ECDSA-P521", "RSA-3072", "Ed25519", "ML-DSA-44"]
)
def test_each_algorithm_makes_a_request_that_verifies(store: KeyStore, algorithm: str) -> None:
    csr = parse_csr(store.request("mc-1", "job-1", _wanted(algorithm)).csr_pem)

    assert csr.key.name == algorithm
    assert set(csr.names) == set(NAMES)


def test_an_unknown_algorithm_is_said_to_be_unsupported(store: KeyStore) -> None:
    with pytest.raises(KeyUnsupported):
        store.request("mc-1", "job-1", _wanted("SM2"))


@pytest.mark.spec("07/KEY-04")
def test_openssl_reads_the_types_of_the_names(tool: Callable[[str], str]) -> None:
    csr_pem = make_request(
        generate(KeyAlgorithm.ECDSA_P256),
        names=NAMES,
        common_name="web.example.test",
        must_staple=True,
    )

    text = subprocess.run(
        [tool("openssl"), "req", "-noout", "-text", "-verify"],
        input=csr_pem,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "DNS:web.example.test, IP Address:192.0.2.1, email:admin@example.test" in text
    assert "URI:spiffe://example.test/web" in text
    assert "CN = web.example.test" in text or "CN=web.example.test" in text
    assert "TLS Feature" in text


def test_a_common_name_that_is_too_long_is_left_to_the_names() -> None:
    name = f"{'a' * 60}.example.test"
    names = [GeneralName(type=NameType.DNS, value=name)]

    csr = parse_csr(make_request(generate(KeyAlgorithm.ED25519), names=names, common_name=name))

    assert csr.common_name is None
    assert csr.names == tuple(names)


@pytest.mark.spec("07/KEY-07")
def test_the_last_two_superseded_keys_are_kept(store: KeyStore, clock: FakeClock) -> None:
    spkis = [_promoted(store, clock, f"job-{n}") for n in range(5)]
    waiting = store.request("mc-1", "job-9", _wanted())

    assert store.prune("mc-1", current=spkis[4]) == 2

    for spki in (*spkis[2:], waiting.spki):
        assert store.load("mc-1", spki)
    for spki in spkis[:2]:
        with pytest.raises(KeyMissing):
            store.load("mc-1", spki)


@pytest.mark.spec("07/KEY-07")
def test_a_key_that_waits_for_more_than_a_week_goes(store: KeyStore, tmp_path: Path) -> None:
    clock = FakeClock()
    store = KeyStore(tmp_path / "keys", clock=clock)
    old = store.request("mc-1", "job-1", _wanted())
    mark = tmp_path / "keys" / "mc-1" / f"{old.spki}.pending"
    clock.set(_time_of(mark) + timedelta(days=6))
    assert store.sweep() == 0

    clock.set(_time_of(mark) + timedelta(days=8))
    assert store.sweep() == 1

    with pytest.raises(KeyMissing):
        store.load("mc-1", old.spki)


def _time_of(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


@pytest.mark.spec("07/KEY-10")
def test_a_reused_key_survives_a_refused_request(store: KeyStore, clock: FakeClock) -> None:
    spki = _promoted(store, clock, "job-1")

    again = store.request("mc-1", "job-2", _wanted(reuse_key=True))
    assert again.spki == spki
    store.discard("mc-1", spki)

    assert store.load("mc-1", spki)
    assert store.request("mc-1", "job-3", _wanted()).spki != spki


def test_the_key_of_a_refused_request_goes(store: KeyStore) -> None:
    pending = store.request("mc-1", "job-1", _wanted())

    store.discard("mc-1", pending.spki)

    with pytest.raises(KeyMissing):
        store.load("mc-1", pending.spki)
    assert store.request("mc-1", "job-1", _wanted()).spki != pending.spki


@pytest.mark.spec("07/KEY-08", "07/MOD-02")
@pytest.mark.parametrize("certificate_id", ["..", ".", "a/b", "", "x" * 129, "a\0b"])
def test_an_id_that_could_leave_the_directory_is_refused(
    store: KeyStore, certificate_id: str
) -> None:
    with pytest.raises(IdRefused):
        store.request(certificate_id, "job-1", _wanted())
    with pytest.raises(IdRefused):
        store.load("mc-1", "../../etc/shadow")


def test_a_link_instead_of_a_directory_is_refused(store: KeyStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "keys" / "mc-2").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IdRefused):
        store.request("mc-2", "job-1", _wanted())


@pytest.mark.spec("07/KEY-05")
def test_a_loose_directory_is_tightened_and_the_root_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)

    KeyStore(loose, clock=clock)

    assert stat.S_IMODE(loose.stat().st_mode) == 0o700
    with pytest.raises(KeyDirectoryRefused):
        KeyStore(Path("/"), clock=clock)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)

    with pytest.raises(KeyDirectoryRefused):
        KeyStore(foreign, clock=clock)
