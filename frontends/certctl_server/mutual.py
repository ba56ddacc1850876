"""The mutual-TLS listener: cheroot, with the client certificate in the environment (TLS-4, TLS-7).

Granian and waitress do not show the peer's certificate; this one does, as ``SSL_CLIENT_CERT`` (PEM).
A certificate is requested, never required. One of an unknown CA ends the handshake. Known are the
CAs of this installation, one by one: a CA of a tree vouches for its clients, but not for those of a
CA below it that was revoked or retired, and the root of a company not for those of its other CAs.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from typing_extensions import override

from certctl_core.lifecycle.authorities import CAKeyState
from certctl_core.pki.x509 import to_pem
from certctl_server.plain import not_found

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from certctl_core.app import Core
    from certctl_server.tls import TLSPair

_log = structlog.get_logger("certctl.mtls")
_PREFIXES = (
    "/.well-known/est/",
    "/.well-known/pki/",
    "/api/v1/agents/",
    "/est/",
    "/scep/",
    "/scep-mtls/",
)
_EXACT = frozenset({"/.well-known/est", "/scep", "/scep-mtls"})
_ENDED = frozenset({CAKeyState.COMPROMISED, CAKeyState.RETIRED})
_QUEUE = 128
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


def only_machines(app: WSGIApplication) -> WSGIApplication:
    """The application of this listener: the paths of EST, SCEP, agents and PKI; 404 for all else."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in _EXACT or path.startswith(_PREFIXES):
            return app(environ, start_response)
        return not_found(start_response)

    return serve


def client_cas(core: Core) -> tuple[x509.Certificate, ...]:
    """The CA certificates whose clients may connect: of every key of ours that still vouches.

    Former keys do until they expire, CAs of a tree while they are retiring.
    """
    now = core.units.clock.now()
    keys = [
        key
        for key in core.rooms.authorities.authority_keys()
        if key.state not in _ENDED and now <= key.not_after
    ]
    over: set[str] = set()
    for issuer_id in {key.issuer_id for key in keys if key.member_id is not None}:
        with core.units.read() as uow:
            over |= core.rooms.hierarchy.over(uow, issuer_id)
    return tuple(dict.fromkeys(key.certificate for key in keys if key.member_id not in over))


def server_context(
    pair: TLSPair, *, clients: Sequence[x509.Certificate], allow_tls_1_2: bool
) -> ssl.SSLContext:
    """The TLS settings of the listener.

    Args:
        pair: The server's pair; checked before.
        clients: CA certificates whose clients may connect with a certificate; without any,
            none is asked for.
        allow_tls_1_2: For devices that know no better; AEAD with ECDHE only.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if allow_tls_1_2 else ssl.TLSVersion.TLSv1_3
    if allow_tls_1_2:
        context.set_ciphers(_CIPHERS_1_2)
    context.load_cert_chain(pair.certificate, pair.key)
    context.set_alpn_protocols(["http/1.1"])
    if clients:
        context.load_verify_locations(cadata="".join(map(to_pem, clients)))
        # Each of them ends the path: a client need not send what stands above its certificate.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class MutualTLSListener:
    """A cheroot server on a socket that is bound already.

    Args:
        app: What it serves.
        sock: The bound socket; it is duplicated.
        context: TLS; replaced by :meth:`use`.
        clients: CAs whose clients may connect, as in ``context``; replaced by :meth:`use`.
        threads: Request threads.
        header_timeout: Time for the handshake, and for the head of a request.
        read_timeout: Time for each read of a body.
        idle_timeout: Idle connections are closed after this.
        max_body: Largest body in bytes.
        on_death: Called when the thread ends without having been asked to.
    """

    name = "mtls"

    def __init__(
        self,
        app: WSGIApplication,
        sock: socket.socket,
        *,
        context: ssl.SSLContext,
        clients: Sequence[x509.Certificate],
        threads: int,
        header_timeout: timedelta,
        read_timeout: timedelta,
        idle_timeout: timedelta,
        max_body: int,
        on_death: Callable[[str], None],
    ) -> None:
        self._on_death = on_death
        self._stopping = False
        self._server = _Server(app, sock, threads=threads)
        self._server.ssl_adapter = _Adapter(context, clients)
        self._server.timeout = idle_timeout.total_seconds()
        self._server.header_seconds = header_timeout.total_seconds()
        self._server.read_seconds = read_timeout.total_seconds()
        self._server.max_request_body_size = max_body
        self._thread = threading.Thread(target=self._run, name="listener-mtls", daemon=True)

    def start(self) -> None:
        """Accept connections."""
        self._server.prepare()
        # Another worker may be quicker to accept what woke us; then we must not wait for the next.
        self._server.socket.settimeout(0)
        self._thread.start()

    def use(self, context: ssl.SSLContext, clients: Sequence[x509.Certificate]) -> None:
        """Use other TLS settings for new connections."""
        self._server.ssl_adapter = _Adapter(context, clients)

    def stop(self) -> None:
        """Accept no more; what is being answered goes on."""
        self._stopping = True
        threading.Thread(target=self._server.stop, name="listener-mtls-stop", daemon=True).start()

    def join(self, seconds: float) -> bool:
        """Wait until the listener has ended; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.serve()
        finally:
            if not self._stopping:
                self._on_death(self.name)


class _Adapter(BuiltinSSLAdapter):
    """cheroot's adapter, without its look at the server certificate; handshakes come later."""

    def __init__(self, context: ssl.SSLContext, clients: Sequence[x509.Certificate]) -> None:
        self.context = context
        self._clients = clients

    def vouches(self, sock: ssl.SSLSocket) -> bool:
        """Whether one of the CAs has itself signed the certificate that came, if one came.

        OpenSSL cannot be told so: it also takes what the client sends as a CA in between.
        """
        der = sock.getpeercert(binary_form=True)
        if not der:
            return True
        try:
            leaf = x509.load_der_x509_certificate(der)
        except ValueError:
            return False
        return any(_has_signed(one, leaf) for one in self._clients)

    @override
    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        # The thread that accepts must not wait for anybody.
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {}

    @override
    def get_environ(self, sock: ssl.SSLSocket) -> dict[str, Any]:  # type: ignore[override] # theirs says so too late
        cipher = sock.cipher() or ("", "", 0)
        environ: dict[str, Any] = {
            "wsgi.url_scheme": "https",
            "HTTPS": "on",
            "SSL_PROTOCOL": sock.version() or "",
            "SSL_CIPHER": cipher[0],
            "SSL_CLIENT_VERIFY": "NONE",
        }
        certificate = sock.getpeercert(binary_form=True)
        if certificate:
            environ["SSL_CLIENT_VERIFY"] = "SUCCESS"
            environ["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(certificate)
        return environ


def _has_signed(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class _Request(HTTPRequest):
    @override
    def respond(self) -> None:
        self.conn.socket.settimeout(self.server.read_seconds)
        super().respond()


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request
    is_greeted = False

    @override
    def communicate(self) -> bool:
        self.socket.settimeout(self.server.header_seconds)
        if not self.is_greeted:
            try:
                self.socket.do_handshake()
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                _log.info("mtls.handshake_failed", remote_addr=self.remote_addr, reason=str(reason))
                return False
            if not self.server.ssl_adapter.vouches(self.socket):
                _log.info(
                    "mtls.handshake_failed",
                    remote_addr=self.remote_addr,
                    reason="issued by a CA that does not vouch for clients here",
                )
                return False
            self.is_greeted = True
            self.ssl_env = self.server.ssl_adapter.get_environ(self.socket)
        return bool(super().communicate())  # type: ignore[no-untyped-call]


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    header_seconds = 5.0
    read_seconds = 30.0

    def __init__(self, app: WSGIApplication, sock: socket.socket, *, threads: int) -> None:
        self._bound = sock
        address = sock.getsockname()[:2]
        super().__init__(
            address, app, numthreads=threads, server_name="certctl", accepted_queue_size=_QUEUE
        )

    @override
    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        self.socket = duplicate = self._bound.dup()
        return duplicate

    @override
    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        _log.warning("mtls.server", detail=msg, exc_info=traceback)
