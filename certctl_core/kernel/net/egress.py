"""Where we may connect to: the policy, the look-up of a name, and the connection to what was checked.

The name is resolved once, every answer is checked, and the connection goes to a checked address: a
second look-up could give another answer (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from certctl_core.kernel.config.values import AllowedDestination
from certctl_core.kernel.net.addresses import (
    PRIVATE,
    RESERVED,
    IPAddress,
    forms,
    within,
)
from certctl_core.kernel.net.errors import EgressDenied, UpstreamTimeout, UpstreamUnavailable
from certctl_core.values import dataclass

Resolve = Callable[[str, timedelta], Sequence[IPAddress]]
"""Looks a host name up: ``(host, time limit) -> addresses``, at least one; raises UpstreamError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """The outbound rules of the product (spec 06 NET-3 to NET-5, 08 NET-2).

    Attributes:
        block_private: Also refuse private ranges.
        allow: Exceptions: by block of addresses or by host name, each for one port or all.
    """

    block_private: bool = False
    allow: tuple[AllowedDestination, ...] = ()

    def check_address(self, address: IPAddress, *, host: str, port: int | None = None) -> None:
        """Refuse an address that the rules forbid.

        Args:
            address: Where the connection would go; forms that carry IPv4 are unwrapped.
            host: The host of the URL, which may be allowed by name.
            port: The port; None matches only exceptions for all ports.

        Raises:
            EgressDenied: The address, or one inside it, is reserved or private.
        """
        name = host.lower().rstrip(".")
        if any(item.host == name and item.port in {None, port} for item in self.allow):
            return
        for form in forms(address):
            why = within(form, RESERVED) or (within(form, PRIVATE) if self.block_private else None)
            if why is not None and not self._is_excepted(form, port):
                raise EgressDenied(host=host, address=str(address), port=port, why=why)

    def addresses(
        self, host: str, port: int, *, timeout: timedelta, resolve: Resolve | None = None
    ) -> tuple[IPAddress, ...]:
        """The checked addresses of a host, in the order to try them.

        Args:
            host: A name or an address.
            port: The port to connect to.
            timeout: Limit of the look-up.
            resolve: The resolver; the system's unless given.

        Raises:
            EgressDenied: One of the answers is forbidden; then none is used.
            UpstreamUnavailable: The name has no address.
            UpstreamTimeout: The look-up took too long.
        """
        literal = _literal(host)
        found = (literal,) if literal else tuple((resolve or system_resolve)(host, timeout))
        for address in found:
            self.check_address(address, host=host, port=port)
        return found

    def _is_excepted(self, address: IPAddress, port: int | None) -> bool:
        return any(
            item.network is not None
            and item.network.version == address.version
            and address in item.network
            and item.port in {None, port}
            for item in self.allow
        )


def system_resolve(host: str, timeout: timedelta) -> tuple[IPAddress, ...]:
    """Ask the system (hosts file, DNS), which has no time limit of its own: hence the thread.

    Args:
        host: The name.
        timeout: How long to wait; a look-up that hangs is left behind.

    Raises:
        UpstreamUnavailable: The name has no address.
        UpstreamTimeout: No answer in time.
    """
    found: list[IPAddress] = []
    failure: list[str] = []

    def look_up() -> None:
        try:
            for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
                if address not in found:
                    found.append(address)
        except (OSError, UnicodeError) as error:
            failure.append(getattr(error, "strerror", None) or "not a host name")

    thread = threading.Thread(target=look_up, name="certctl-resolve", daemon=True)
    thread.start()
    thread.join(timeout.total_seconds())
    if thread.is_alive():
        reason = f"looking up {host} took too long"
        raise UpstreamTimeout(reason)
    if failure or not found:
        reason = f"{host} has no address: {(failure or ['none'])[0]}"
        raise UpstreamUnavailable(reason)
    return tuple(found)


def open_connection(
    policy: EgressPolicy,
    host: str,
    port: int,
    *,
    timeout: timedelta,
    resolve: Resolve | None = None,
) -> socket.socket:
    """Connect by TCP to a host, through the policy; for protocols other than HTTP.

    Args:
        policy: The rules.
        host: A name or an address.
        port: TCP port.
        timeout: For the look-up, and again for each address that is tried.
        resolve: The resolver; the system's unless given.

    Returns:
        The connected socket; the caller closes it. Its time limit is ``timeout``.

    Raises:
        EgressDenied: An address of the host is forbidden.
        UpstreamUnavailable: No address answers, or there is none.
        UpstreamTimeout: The last address did not answer in time.
    """
    last: OSError | None = None
    for address in policy.addresses(host, port, timeout=timeout, resolve=resolve):
        try:
            connection = socket.create_connection((str(address), port), timeout.total_seconds())
        except OSError as error:
            last = error
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    if isinstance(last, TimeoutError):
        reason = f"{host} does not answer on port {port}"
        raise UpstreamTimeout(reason) from last
    cause = (last.strerror if last is not None else None) or "no address answers"
    reason = f"{host} port {port}: {cause}"
    raise UpstreamUnavailable(reason) from last


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
