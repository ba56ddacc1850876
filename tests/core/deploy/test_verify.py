"""TLS verification and STARTTLS (spec 07 §11)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certctl_core.contracts.targets import Bundle, Endpoint, Protocol, Verify
from certctl_core.deploy import VerificationStatus
from certctl_core.deploy.verify import Verifier
from certctl_core.testing.target import Authority, TLSEndpoint
from tests.machine import PATIENCE_SECONDS

PATIENCE = f"{PATIENCE_SECONDS:g}s"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[TLSEndpoint]:
    endpoint = TLSEndpoint(tmp_path)
    yield endpoint
    endpoint.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def verifier(waits: list[float]) -> Verifier:
    return Verifier(waits.append)


def _config(endpoint: TLSEndpoint, **changes: object) -> Verify:
    return Verify.model_validate(
        {"endpoint": f"127.0.0.1:{endpoint.port}", "timeout": PATIENCE, **changes}
    )


@pytest.mark.spec("07/VER-02")
def test_leaf_and_chain_are_compared(
    endpoint: TLSEndpoint, verifier: Verifier, authority: Authority
) -> None:
    bundle = authority.issue("v1")
    endpoint.serve(bundle)
    good = verifier.verify(_config(endpoint), bundle.fingerprint, bundle.chain_fingerprints)
    endpoint.serve(bundle, chain=False)
    short = verifier.verify(_config(endpoint), bundle.fingerprint, bundle.chain_fingerprints)
    lenient = verifier.verify(
        _config(endpoint, check_chain=False), bundle.fingerprint, bundle.chain_fingerprints
    )

    assert (good.status, good.chain_ok, good.attempts) == (VerificationStatus.SUCCESS, True, 1)
    assert (short.status, short.chain_ok) == (VerificationStatus.FAILED, False)
    assert short.code == "verify_failed"
    assert (lenient.status, lenient.chain_ok) == (VerificationStatus.SUCCESS, None)


@pytest.mark.spec("07/VER-01")
def test_waits_double_up_to_the_longest(
    endpoint: TLSEndpoint, verifier: Verifier, authority: Authority, waits: list[float]
) -> None:
    shown, expected = authority.issue("v1"), authority.issue("v2")
    endpoint.serve(shown)
    config = _config(endpoint, attempts=6, backoff="1s", max_backoff="5s", delay="7s")
    result = verifier.verify(config, expected.fingerprint)

    assert waits == [7, 1, 2, 4, 5, 5]
    assert result.attempts == 6
    assert result.expected_fingerprint == expected.fingerprint
    assert result.actual_fingerprint == shown.fingerprint


def test_a_service_that_comes_up_late_is_waited_for(
    endpoint: TLSEndpoint, authority: Authority
) -> None:
    old, new = authority.issue("v1"), authority.issue("v2")
    endpoint.serve(old)
    verifier = Verifier(lambda seconds: endpoint.serve(new) if seconds else None)
    result = verifier.verify(_config(endpoint), new.fingerprint)

    assert (result.status, result.attempts) == (VerificationStatus.SUCCESS, 2)


@pytest.mark.spec("07/VER-05")
@pytest.mark.parametrize("config", [Verify(), Verify.model_validate({"enabled": False})])
def test_without_endpoint_it_is_skipped_and_not_verified(
    config: Verify, verifier: Verifier
) -> None:
    assert verifier.verify(config, "00" * 32).status is VerificationStatus.SKIPPED


@pytest.mark.spec("07/VER-08")
def test_an_expired_certificate_is_still_compared(
    endpoint: TLSEndpoint, verifier: Verifier, authority: Authority
) -> None:
    bundle = authority.issue("v1", days=-1)
    endpoint.serve(bundle)

    assert verifier.serves(_config(endpoint), bundle.fingerprint)


def test_nobody_there_is_a_connection_failure(verifier: Verifier) -> None:
    with socket.socket() as deaf:  # bound, so that nobody else takes the port meanwhile
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        config = Verify.model_validate({"endpoint": f"127.0.0.1:{port}", "attempts": 1})
        result = verifier.verify(config, "00" * 32)

    assert (result.status, result.code) == (VerificationStatus.FAILED, "connect_failed")
    assert result.error


@pytest.mark.spec("07/VER-06")
def test_all_addresses_must_match_when_asked_for(
    endpoint: TLSEndpoint,
    verifier: Verifier,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = authority.issue("v1")
    endpoint.serve(bundle)
    # A name with two addresses; on the first one nobody listens.
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: int, **more: int) -> list[Any]:
        if host != "two.example.test":
            return [*real(host, *arguments, **more)]
        return [*real("::1", *arguments, **more), *real("127.0.0.1", *arguments, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    config = {"endpoint": f"two.example.test:{endpoint.port}", "attempts": 1, "timeout": PATIENCE}
    any_address = verifier.verify(Verify.model_validate(config), bundle.fingerprint)
    every = Verify.model_validate({**config, "all_addresses": True})
    all_addresses = verifier.verify(every, bundle.fingerprint)

    assert any_address.status is VerificationStatus.SUCCESS
    assert (all_addresses.status, all_addresses.code) == (
        VerificationStatus.FAILED,
        "connect_failed",
    )


@pytest.mark.spec("07/VER-03")
@pytest.mark.parametrize(
    ("endpoint", "name", "sni"),
    [
        ("www.example.test:443", None, "www.example.test"),
        ("192.0.2.1:443", None, None),
        ("[2001:db8::1]:443", None, None),
        ("192.0.2.1:443", "www.example.test", "www.example.test"),
    ],
)
def test_the_server_name_is_independent_of_the_address(
    endpoint: str, name: str | None, sni: str | None
) -> None:
    config = Verify.model_validate({"endpoint": endpoint, "server_name": name})

    assert config.sni == sni


@pytest.mark.parametrize(
    "text", ["host", "host:", ":443", "host:0", "host:65536", "2001:db8::1:443", "a b:443", "h:4\n"]
)
def test_a_malformed_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.of(text)


# -- STARTTLS -------------------------------------------------------------------------------------

Dialogue = list[tuple[bytes, bytes]]
"""What the server waits for (empty: nothing), and what it then says."""

_LDAP = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_DIALOGUES: dict[Protocol, Dialogue] = {
    Protocol.SMTP: [
        (b"", b"220-mail.example.test\r\n220 ready\r\n"),
        (b"EHLO localhost\r\n", b"250-mail.example.test\r\n250-STARTTLS\r\n250 8BITMIME\r\n"),
        (b"STARTTLS\r\n", b"220 go ahead\r\n"),
    ],
    Protocol.IMAP: [
        (b"", b"* OK ready\r\n"),
        (b"a STARTTLS\r\n", b"* CAPABILITY IMAP4rev1\r\na OK begin\r\n"),
    ],
    Protocol.POP3: [(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK begin\r\n")],
    Protocol.LDAP: [(_LDAP, bytes.fromhex("300c02010178070a010004000400"))],
    Protocol.POSTGRES: [(bytes.fromhex("0000000804d2162f"), b"S")],
}
_REFUSALS: dict[Protocol, Dialogue] = {
    Protocol.SMTP: [(b"", b"554 no\r\n")],
    Protocol.IMAP: [(b"", b"* OK ready\r\n"), (b"a STARTTLS\r\n", b"a BAD no\r\n")],
    Protocol.POP3: [(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"-ERR no\r\n")],
    Protocol.LDAP: [(_LDAP, bytes.fromhex("300c02010178070a010204000400"))],
    Protocol.POSTGRES: [(bytes.fromhex("0000000804d2162f"), b"N")],
}


@contextlib.contextmanager
def _server(dialogue: Dialogue, bundle: Bundle, directory: Path) -> Iterator[int]:
    file = directory / "server.pem"
    file.write_bytes(bundle.key + bundle.fullchain.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE_SECONDS)
        with connection, contextlib.suppress(OSError):
            for expected, answer in dialogue:
                got = b""
                while len(got) < len(expected):
                    got += connection.recv(len(expected) - len(got))
                if got != expected:
                    return
                connection.sendall(answer)
            context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def _asking(port: int, protocol: Protocol) -> Verify:
    config = {"endpoint": f"127.0.0.1:{port}", "protocol": protocol.value}
    return Verify.model_validate({**config, "attempts": 1, "timeout": PATIENCE})


@pytest.mark.spec("07/VER-04")
@pytest.mark.parametrize("protocol", _DIALOGUES)
def test_starttls_reaches_the_certificate(
    protocol: Protocol, authority: Authority, tmp_path: Path, verifier: Verifier
) -> None:
    bundle = authority.issue("v1")
    with _server(_DIALOGUES[protocol], bundle, tmp_path) as port:
        result = verifier.verify(
            _asking(port, protocol), bundle.fingerprint, bundle.chain_fingerprints
        )

    assert result.status is VerificationStatus.SUCCESS, result


@pytest.mark.spec("07/VER-04")
@pytest.mark.parametrize("protocol", _REFUSALS)
def test_a_server_without_starttls_is_a_connection_failure(
    protocol: Protocol, authority: Authority, tmp_path: Path, verifier: Verifier
) -> None:
    with _server(_REFUSALS[protocol], authority.issue("v1"), tmp_path) as port:
        result = verifier.verify(_asking(port, protocol), "00" * 32)

    assert (result.status, result.code) == (VerificationStatus.FAILED, "connect_failed")


def test_the_dialogues_cover_every_protocol() -> None:
    covered: Callable[[dict[Protocol, Dialogue]], set[Protocol]] = set
    assert covered(_DIALOGUES) == covered(_REFUSALS) == set(Protocol) - {Protocol.TLS}
