"""The contract of an enrollment protocol: bytes in, bytes out (spec 04 §1, 03 §1).

A protocol is sans-framework: it says which routes it has and answers ``Request`` with ``Response``;
the frontends mount it and map the two values one to one. Everything it issues goes through the
core's issuance pipeline behind ``ctx.enroll``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Protocol, TypeAlias

from cryptography import x509

from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.http import Headers
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.errors import FieldError
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

__all__ = [
    "NO_PEER",
    "EnrollRequest",
    "EnrollWaiting",
    "Enrolled",
    "EnrollmentContext",
    "EnrollmentOutcome",
    "EnrollmentProtocol",
    "EnrollmentTransaction",
    "Headers",
    "Listener",
    "Peer",
    "Request",
    "Response",
    "Route",
    "TransactionState",
    "TransactionStore",
    "certctl_enrollment_protocols",
    "text_response",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of the connection, below HTTP.

    Attributes:
        tls: Whether the client's connection is TLS (at the proxy, if there is one).
        tls_version: ``TLSv1.3`` …; empty when unknown.
        client_chain_der: Certificates the client sent, leaf first; proven, not yet trusted.
        export_keying_material: ``(label, context, length) -> bytes`` (RFC 5705), where the
            listener can give it.
        tls_unique: RFC 5929 channel binding of TLS 1.2, where the listener can give it.
        via_trusted_proxy: The certificate comes from a proxy's header.
    """

    tls: bool = False
    tls_version: str = ""
    client_chain_der: tuple[bytes, ...] = ()
    export_keying_material: Callable[[str, bytes | None, int], bytes] | None = None
    tls_unique: bytes | None = None
    via_trusted_proxy: bool = False


NO_PEER = Peer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whatever server received it.

    Attributes:
        method: Upper case.
        path: As on the wire, not decoded, without query.
        query: Decoded parameters; the last value of a repeated name.
        raw_query: The query as on the wire.
        headers: Header fields.
        body: All of it; the size was limited before.
        base_url: ``https://host[:port]`` as the client sees us, without a slash at the end.
        label: The configured profile of the protocol that the path names; empty for none.
        op: The operation of the route that matched.
        request_id: For logs and error bodies.
        remote_addr: The client's address behind trusted proxies.
        peer: The connection.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    base_url: str = ""
    label: str = ""
    op: str = ""
    request_id: str = ""
    remote_addr: str = ""
    peer: Peer = NO_PEER


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer. Frontends add ``Content-Length`` and change nothing else.

    Attributes:
        status: HTTP status.
        content_type: Media type with parameters; empty only without a body.
        headers: Further fields in wire order; a name may repeat (``Link``).
        body: The content.
    """

    status: int = 200
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def text_response(status: int, text: str, *, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """An answer of one line of plain text."""
    return Response(
        status=status,
        content_type="text/plain; charset=utf-8",
        headers=tuple(headers),
        body=f"{text}\n".encode(),
    )


class Listener(StrEnum):
    """Where a route is offered (DESIGN §5)."""

    MAIN = "main"
    MUTUAL_TLS = "mutual_tls"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path that a protocol answers.

    Attributes:
        path: From the root, with ``{label}`` and other single-segment parameters.
        methods: Allowed methods; others get 405 with ``Allow``.
        op: Handed to ``handle`` in the request.
        listeners: Where it is mounted.
    """

    path: str
    methods: frozenset[str]
    op: str
    listeners: frozenset[Listener] = frozenset({Listener.MAIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollRequest:
    """A certificate that a device asks for; the core decides whether it gets one.

    Attributes:
        label: The protocol's profile, which names certificate profile and issuer.
        csr_der: PKCS#10; signature checked by the protocol.
        principal: Who was authenticated and how, for audit: ``est:basic:printers`` …
        previous_der: The certificate being renewed, proven by the protocol.
        is_rekey: The key differs from the previous one's.
        transaction_id: The protocol's own id of the exchange; repeated requests find it again.
        client_ip: For limits and audit.
        request_id: For logs.
    """

    label: str
    csr_der: bytes
    principal: str
    previous_der: bytes | None = None
    is_rekey: bool = False
    transaction_id: str = ""
    client_ip: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The certificate, verified and stored before it is handed out; issuing chain after it."""

    leaf_der: bytes
    chain_der: tuple[bytes, ...]
    certificate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollWaiting:
    """An approval or a slow issuer decides later."""

    transaction_id: str
    retry_after: timedelta


EnrollmentOutcome: TypeAlias = Enrolled | EnrollWaiting


class TransactionState(StrEnum):
    """How an exchange stands."""

    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentTransaction:
    """An exchange that may span several requests."""

    id: str
    label: str
    state: TransactionState
    created_at: datetime
    csr_sha256: str
    data: Mapping[str, JSON] = field(default_factory=dict)
    outcome: Enrolled | None = None
    failure: str = ""


class TransactionStore(Protocol):
    """Exchanges by label and the protocol's own id; shared by all processes."""

    def find(self, label: str, transaction_id: str) -> EnrollmentTransaction | None:
        """Look one up."""
        ...

    def note(self, label: str, transaction_id: str, data: Mapping[str, JSON]) -> None:
        """Keep protocol data with it."""
        ...


class EnrollmentContext(PluginContext, Protocol):
    """``self.ctx`` of a protocol."""

    @property
    def transactions(self) -> TransactionStore:
        """Exchanges."""
        ...

    def enroll(self, request: EnrollRequest) -> EnrollmentOutcome:
        """Ask the issuance pipeline for a certificate.

        Raises:
            CertctlError: Its typed refusals: policy, quota, approval, issuer.
        """
        ...

    def trust(self, bundle: str) -> Sequence[x509.Certificate]:
        """The trust anchors of a bundle, as last loaded.

        Raises:
            NotFound: There is no such bundle.
        """
        ...

    def ca_chain(self, label: str) -> Sequence[x509.Certificate]:
        """The certificates of the CA that issues for a label, issuing one first."""
        ...

    def hit(self, limit: str, key: str) -> timedelta | None:
        """Count one request against a configured limit.

        Returns:
            None if it is within the limit, else when a slot is free.
        """
        ...


class EnrollmentProtocol(Plugin):
    """An enrollment protocol. One object serves all its labels; safe for threads.

    Args:
        config: Settings common to all labels.
        ctx: The context.
    """

    label_config: ClassVar[type[PluginConfig]] = PluginConfig
    """The configuration of one label."""

    def __init__(self, config: PluginConfig, ctx: EnrollmentContext) -> None:
        self.config = config
        self.ctx = ctx

    def validate(self, label: str, profile: PluginConfig) -> Sequence[FieldError]:
        """Check a label's configuration beyond its model (files, keys, issuer); at start and save.

        Returns:
            What is wrong; empty when it can serve.
        """
        del label, profile
        return ()

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """The paths of the protocol. Called once, before the listeners open."""

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """Answer a request.

        Never raises for what a client can send: protocol errors are answers. An exception becomes
        a plain 500 with the request id, its text goes to the log only.
        """

    def snapshot(self, label: str) -> Mapping[str, JSON]:
        """What an operator sees of a label: counters, trust, RA certificate. No secret."""
        del label
        return {}

    def reload_trust(self, label: str) -> None:
        """Take new trust material; on failure keep the old and raise."""

    def close(self) -> None:
        """Called at shutdown."""


@hookspec
def certctl_enrollment_protocols() -> list[type[EnrollmentProtocol]]:  # type: ignore[empty-body]
    """Register enrollment protocols.

    Called once at start, each implementation on its own; all results count.
    """
