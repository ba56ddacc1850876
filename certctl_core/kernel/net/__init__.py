"""The way out: outbound rules, the one HTTP client, typed errors; and who a client is."""

from __future__ import annotations

from certctl_core.kernel.net.addresses import IPAddress, client_ip, parse_address
from certctl_core.kernel.net.egress import EgressPolicy, open_connection, system_resolve
from certctl_core.kernel.net.errors import (
    AuthError,
    CallError,
    ConfigProblem,
    EgressDenied,
    ErrorClass,
    RequestRejected,
    TrustError,
    UpstreamError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamServerError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from certctl_core.kernel.net.http import HttpClient
from certctl_core.kernel.net.responses import Response, error_for, retry_after
from certctl_core.kernel.net.tls import ClientIdentity, client_context

__all__ = [
    "AuthError",
    "CallError",
    "ClientIdentity",
    "ConfigProblem",
    "EgressDenied",
    "EgressPolicy",
    "ErrorClass",
    "HttpClient",
    "IPAddress",
    "RequestRejected",
    "Response",
    "TrustError",
    "UpstreamError",
    "UpstreamNotFound",
    "UpstreamProtocolError",
    "UpstreamRateLimited",
    "UpstreamServerError",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "client_context",
    "client_ip",
    "error_for",
    "open_connection",
    "parse_address",
    "retry_after",
    "system_resolve",
]
