"""Which certificate does a service serve: a TLS probe that trusts nobody (spec 07 §11)."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from certctl_core.contracts.errors import safe_text
from certctl_core.contracts.targets import Protocol, Verify
from certctl_core.deploy.errors import ConnectFailed
from certctl_core.deploy.report import Verification, VerificationStatus
from certctl_core.deploy.starttls import start_tls
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one handshake showed: fingerprints of the leaf and of everything sent, in order."""

    leaf: str
    chain: tuple[str, ...]


def probe(
    address: tuple[str, int], *, server_name: str | None, protocol: Protocol, timeout: timedelta
) -> Served:
    """Do one handshake and look at the certificates; nothing is sent after it.

    A fresh context each time, so no session is resumed: a server keeps the old certificate for
    those. Validation is off on purpose (VER-08): the question is which certificate, not whether
    to trust it.

    Args:
        address: Host or IP address, and port.
        server_name: The SNI; None sends none.
        protocol: STARTTLS or plain TLS.
        timeout: Of each step.

    Raises:
        ConnectFailed: No TLS there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(address, timeout.total_seconds()) as plain:
            start_tls(plain, protocol)
            with context.wrap_socket(plain, server_hostname=server_name) as secured:
                chain = _chain(secured)
    except (OSError, ValueError) as error:
        text = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConnectFailed(reason=safe_text(str(text)) or type(error).__name__) from error
    if not chain:
        raise ConnectFailed(reason="the server sent no certificate")
    prints = tuple(hashlib.sha256(der).hexdigest() for der in chain)
    return Served(leaf=prints[0], chain=prints)


def _chain(secured: ssl.SSLSocket) -> list[bytes]:
    """The certificates as they were sent, DER; the one place that knows how Python gives them.

    Public since Python 3.13; 3.11 and 3.12 have it on the private object alone (VER-09).
    """
    public: Any = getattr(secured, "get_unverified_chain", None)
    if public is not None:
        return [bytes(der) for der in public()]
    private: Any = getattr(secured, "_sslobj", None)
    found = private.get_unverified_chain() or []
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found]


class Verifier:
    """Probes endpoints until the expected certificate is served or patience ends.

    Args:
        sleep: Waits some seconds.
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep

    def verify(
        self, config: Verify, fingerprint: str, intermediates: Sequence[str] = ()
    ) -> Verification:
        """Check that the endpoint serves a leaf and, if asked for, every intermediate.

        Waits between attempts double from ``backoff`` to ``max_backoff`` (VER-01).

        Args:
            config: Endpoint, name and patience.
            fingerprint: Of the expected leaf.
            intermediates: Fingerprints of what must be sent with it, in any order.
        """
        if not config.enabled or config.endpoint is None:
            return Verification(status=VerificationStatus.SKIPPED, expected_fingerprint=fingerprint)
        self._sleep(config.delay.total_seconds())
        wait = config.backoff
        result = self._once(config, fingerprint, intermediates, attempt=1)
        for attempt in range(2, config.attempts + 1):
            if result.status is VerificationStatus.SUCCESS:
                break
            self._sleep(wait.total_seconds())
            wait = min(wait * 2, config.max_backoff)
            result = self._once(config, fingerprint, intermediates, attempt=attempt)
        return result

    def serves(self, config: Verify, fingerprint: str) -> bool:
        """Whether the endpoint serves that leaf right now; one attempt, no waiting."""
        if not config.enabled or config.endpoint is None or not fingerprint:
            return False
        result = self._once(config, fingerprint, (), attempt=1)
        return result.status is VerificationStatus.SUCCESS

    def look(self, config: Verify) -> str:
        """The fingerprint of the leaf that the endpoint serves, whichever it is.

        Raises:
            ConnectFailed: No TLS there, or no endpoint is configured.
        """
        return self._probes(config)[0].leaf

    def _once(
        self, config: Verify, fingerprint: str, intermediates: Sequence[str], *, attempt: int
    ) -> Verification:
        endpoint = config.endpoint or ""
        actual, chain_ok, error, code = "", None, "", ""
        try:
            for served in self._probes(config):
                actual = served.leaf
                if actual != fingerprint:
                    error, code = "another certificate is served", "verify_failed"
                    break
                if config.check_chain:
                    chain_ok = set(intermediates) <= set(served.chain)
                if chain_ok is False:
                    error, code = "an intermediate certificate is not served", "verify_failed"
                    break
        except ConnectFailed as failure:
            error, code = str(failure.data["reason"]), "connect_failed"
        return Verification(
            status=VerificationStatus.FAILED if error else VerificationStatus.SUCCESS,
            endpoint=endpoint,
            server_name=config.sni or "",
            expected_fingerprint=fingerprint,
            actual_fingerprint=actual,
            chain_ok=chain_ok,
            attempts=attempt,
            error=error,
            code=code,
        )

    def _probes(self, config: Verify) -> list[Served]:
        if config.endpoint is None:
            raise ConnectFailed(reason="no endpoint is configured")
        host, port = config.endpoint.host, config.endpoint.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectFailed(reason=f"the name {host} cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        served: list[Served] = []
        refused: ConnectFailed | None = None
        for address in addresses:
            try:
                served.append(
                    probe(
                        (address, port),
                        server_name=config.sni,
                        protocol=config.protocol,
                        timeout=config.timeout,
                    )
                )
            except ConnectFailed as error:
                if config.all_addresses:
                    raise
                refused = error
                continue
            if not config.all_addresses:
                break
        if not served and refused is not None:
            raise refused
        return served
