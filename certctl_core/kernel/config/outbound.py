"""Where this server may connect to by itself."""

from datetime import timedelta

from certctl_core.kernel.config.fields import OFF, Section, setting
from certctl_core.kernel.config.values import (
    AbsolutePath,
    Destinations,
    Flag,
    ProxyURL,
)

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class OutboundSettings(Section):
    """``settings.outbound``: where this server may connect to by itself."""

    block_private: Flag = setting(
        "OUTBOUND_BLOCK_PRIVATE",
        OFF,
        "Also refuse private networks (RFC 1918, 100.64.0.0/10, fc00::/7). Loopback, link-local "
        "and reserved ranges are always refused.",
        example="true",
    )
    allow: Destinations = setting(
        "OUTBOUND_ALLOW",
        (),
        "Exceptions from the refused ranges: CIDR blocks, hosts or host:port.",
        example="10.1.0.0/16,ca.example.com,127.0.0.1:8200",
    )
    ca_bundle: AbsolutePath | None = setting(
        "OUTBOUND_CA_BUNDLE",
        None,
        "PEM file of CA certificates to trust beside the system's where this server connects to; "
        "read again on SIGHUP and by 'certctl trust reload outbound'.",
        example="/etc/certctl/trust.pem",
    )
    proxy: ProxyURL | None = setting(
        "OUTBOUND_PROXY",
        None,
        "HTTP proxy for outgoing requests. Proxy variables of the environment are ignored.",
        example="http://proxy.example.com:3128",
    )
