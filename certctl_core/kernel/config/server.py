"""The web server: addresses, TLS files, limits of a request, what stands in front."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import (
    AbsolutePath,
    Duration,
    Host,
    Hosts,
    HTTPSBase,
    Integer,
    IPNetwork,
    Listen,
    Networks,
    Origins,
    Size,
    choice,
)


class Engine(StrEnum):
    """The web server that carries the main listener."""

    GRANIAN = "granian"
    WAITRESS = "waitress"


class TLSVersion(StrEnum):
    """A minimum TLS version."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)


class ServerSettings(Section):
    """``settings.server``: listener and HTTP."""

    host: Host = setting(
        "SERVER_HOST", "127.0.0.1", "Address that the main listener binds.", example="192.0.2.10"
    )
    port: Integer = setting(
        "SERVER_PORT", 8443, "Port of the main listener.", ge=1, le=65535, example="443"
    )
    engine: Annotated[Engine, choice(Engine)] = setting(
        "SERVER_ENGINE",
        Engine.GRANIAN,
        "granian serves HTTPS itself; waitress serves plain HTTP behind a TLS proxy that is "
        "listed in CERTCTL_TRUSTED_PROXIES.",
        example="waitress",
    )
    workers: Integer = setting(
        "SERVER_WORKERS",
        1,
        "Web worker processes. SQLite takes one.",
        ge=1,
        le=256,
        derived="number of CPUs, at most 4; 1 on SQLite",
        example="2",
    )
    http_threads: Integer = setting(
        "HTTP_THREADS",
        8,
        "Request threads of each web worker. Workers × threads + 10 must fit into "
        "CERTCTL_DATABASE_MAX_CONNS. Requests that write at the same time share a commit.",
        ge=1,
        le=256,
        derived="16 for one or two workers, less for more; never more than fit",
        example="24",
    )
    tls_cert_path: AbsolutePath | None = setting(
        "SERVER_TLS_CERT_PATH",
        None,
        "PEM file with the server certificate and its chain. Without it the built-in CA issues "
        "one. Needs CERTCTL_SERVER_TLS_KEY_PATH.",
        live=True,
        example="/etc/certctl/tls/server.crt",
    )
    tls_key_path: AbsolutePath | None = setting(
        "SERVER_TLS_KEY_PATH",
        None,
        "PEM file with the private key of the server certificate.",
        live=True,
        example="/etc/certctl/tls/server.key",
    )
    tls_sans: Hosts = setting(
        "SERVER_TLS_SANS",
        (),
        "Further names and addresses in the server certificate that the built-in CA issues.",
        example="certctl.example.com,192.0.2.10",
    )
    mtls_listen: Listen | None = setting(
        "MTLS_LISTEN",
        None,
        "host:port of the listener that asks for client certificates. Off when unset.",
        example="0.0.0.0:8444",
    )
    mtls_min_tls: Annotated[TLSVersion, choice(TLSVersion)] = setting(
        "MTLS_MIN_TLS",
        TLSVersion.TLS_1_3,
        "Lowest TLS version of the listener that asks for client certificates.",
        example="1.2",
    )
    public_url: HTTPSBase | None = setting(
        "PUBLIC_URL",
        None,
        "The URL under which the outside reaches this server.",
        example="https://certctl.example.com",
    )
    max_body_size: Size = setting(
        "MAX_BODY_SIZE",
        1024 * 1024,
        "Largest request body; some paths have a lower limit of their own.",
        ge=1024,
        le=1024 * 1024 * 1024,
        example="4MiB",
    )
    header_timeout: Duration = setting(
        "HTTP_HEADER_TIMEOUT",
        timedelta(seconds=5),
        "Time in which a client has to send the head of its request.",
        ge=_SECOND,
        le=_HOUR,
        example="10s",
    )
    read_timeout: Duration = setting(
        "HTTP_READ_TIMEOUT",
        timedelta(seconds=30),
        "Time in which a client has to send the body of its request.",
        ge=_SECOND,
        le=_HOUR,
        example="1m",
    )
    write_timeout: Duration = setting(
        "HTTP_WRITE_TIMEOUT",
        timedelta(seconds=120),
        "Time in which a client has to take the answer.",
        ge=_SECOND,
        le=_HOUR,
        example="5m",
    )
    idle_timeout: Duration = setting(
        "HTTP_IDLE_TIMEOUT",
        timedelta(seconds=60),
        "Time after which an idle connection is closed.",
        ge=_SECOND,
        le=_HOUR,
        example="30s",
    )
    shutdown_timeout: Duration = setting(
        "SHUTDOWN_TIMEOUT",
        timedelta(seconds=30),
        "Time for a clean stop; what is still open then is cut.",
        ge=_SECOND,
        le=_HOUR,
        example="1m",
    )
    trusted_proxies: Networks = setting(
        "TRUSTED_PROXIES",
        (),
        "Addresses and CIDR blocks of the proxies in front. Only their X-Forwarded-For is "
        "believed.",
        example="10.0.0.0/24,192.0.2.7",
    )
    cors_origins: Origins = setting(
        "CORS_ORIGINS",
        (),
        "Origins of foreign web pages that may call the API. Empty: none.",
        example="https://portal.example.com",
    )


def covers(networks: tuple[IPNetwork, ...], network: IPNetwork) -> bool:
    """Whether one of the networks contains the other one whole."""
    return any(
        network.version == known.version
        and int(known.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(known.broadcast_address)
        for known in networks
    )
