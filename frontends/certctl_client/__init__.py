"""Typed client of certctl's REST API, shared by the command line and the agent.

::

    with Client("https://certctl.example.com:8443", api_key=key, ca_path="ca.crt") as client:
        for certificate in client.certificates.each(status="Expiring"):
            print(certificate["name"], certificate["expires_at"])

It needs the standard library and nothing of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certctl_client.calls import Page
    from certctl_client.client import Client
    from certctl_client.errors import (
        APIError,
        BadServerURL,
        CABundleUnusable,
        ClientFileUnusable,
        ListEndless,
        ServerTimeout,
        ServerUnreachable,
        UnexpectedAnswer,
    )
    from certctl_client.settings import ClientSettings, read_client_file

__all__ = [
    "APIError",
    "BadServerURL",
    "CABundleUnusable",
    "Client",
    "ClientFileUnusable",
    "ClientSettings",
    "ListEndless",
    "Page",
    "ServerTimeout",
    "ServerUnreachable",
    "UnexpectedAnswer",
    "read_client_file",
]

_HOMES = {
    "Client": "client",
    "ClientSettings": "settings",
    "Page": "calls",
    "read_client_file": "settings",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: who only reads a setting needs no HTTP library."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(f"certctl_client.{_HOMES.get(name, 'errors')}"), name)
