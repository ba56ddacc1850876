"""What httpcore, ssl and the sockets raise, as typed errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from certctl_core.kernel.net.errors import (
    AuthError,
    CallError,
    TrustError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)

# Alerts by which a TLS server refuses our certificate or the lack of one (RFC 8446 §6.2).
_CLIENT_CERTIFICATE_ALERTS = (
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
)


_E = TypeVar("_E", bound=BaseException)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what is raised inside into a typed error about ``url``.

    Raises:
        TrustError: The certificate of the server does not verify.
        AuthError: The server refused our certificate.
        UpstreamTimeout: The time is over.
        UpstreamProtocolError: The other side does not speak HTTP.
        UpstreamUnavailable: Refused, reset, cut off, or a failed handshake.
    """
    import httpcore

    try:
        yield
    except CallError:
        raise
    except httpcore.TimeoutException as error:
        reason = f"{url} took too long"
        raise UpstreamTimeout(reason) from error
    except httpcore.UnsupportedProtocol as error:
        reason = f"{url} cannot be asked"
        raise UpstreamProtocolError(reason) from error
    except (httpcore.NetworkError, httpcore.ProxyError, OSError) as error:
        raise _network(url, error) from error
    except httpcore.ProtocolError as error:
        raise _protocol(url, error) from error


def _network(url: str, error: BaseException) -> CallError:
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return TrustError(f"{url}: {tls.verify_message or 'the certificate does not verify'}")
    if tls is not None:
        alert = tls.reason or ""
        if "ALERT" in alert and alert.endswith(_CLIENT_CERTIFICATE_ALERTS):
            return AuthError(f"{url} does not accept our client certificate ({alert})")
        return UpstreamUnavailable(f"{url}: the TLS handshake failed ({alert or 'no reason'})")
    system = _cause(error, OSError)
    return UpstreamUnavailable(f"{url}: {(system and system.strerror) or 'the connection failed'}")


def _protocol(url: str, error: BaseException) -> CallError:
    # A parser error below says that bytes came and were no HTTP; without one the peer went away.
    if error.__cause__ is None and error.__context__ is None:
        return UpstreamUnavailable(f"{url} closed the connection without an answer")
    if "peer closed connection" in str(error):
        return UpstreamUnavailable(f"{url} closed the connection in the middle of an answer")
    return UpstreamProtocolError(f"{url} does not speak HTTP as it should")


def _cause(error: BaseException, kind: type[_E]) -> _E | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
